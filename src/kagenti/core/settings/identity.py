"""What a workload is called at the identity provider: client name, client id, audience, SPIFFE id, service name.

The placeholder grammar is closed; expansion happens here, outside of any structured text.
"""

import re
from dataclasses import dataclass
from typing import Final

from kagenti.core.settings import federated
from kagenti.core.settings.derive import TEMPLATE, VALIDATION
from kagenti.core.settings.model import Finding, ResolvedSettings
from kagenti.core.workload import WorkloadRef

_PLACEHOLDER: Final = re.compile(r"\{\{\.(Namespace|WorkloadName|WorkloadKind|PodName)\}\}|\$")
_SERVICE_NAME: Final = "service.name"


@dataclass(frozen=True, slots=True)
class WorkloadValues:
    """The derived values that depend on the workload.

    ``client_name`` is an env value: a literal ``$`` is escaped, and ``$(POD_NAME)`` stands for the pod's name, unknown
    at admission. The others are plain text. ``audience`` is the inbound audience with ``self`` replaced by the client
    id; ``client_id`` holds ``$(POD_NAME)`` where one client per pod is registered without SPIFFE.
    """

    client_name: str
    client_id: str
    audience: str
    service_name: str
    spiffe_id: str
    notes: tuple[Finding, ...] = ()


def values_for(settings: ResolvedSettings, *, owner: WorkloadRef, service_account: str) -> WorkloadValues:
    """Returns the values of one workload; a standalone pod that has no name yet is called by its kind."""
    template = settings.text(TEMPLATE)
    spiffe = settings.flag("identity.spiffe.enabled")
    trust_domain = settings.text("identity.spiffe.trustDomain")
    spiffe_id = f"spiffe://{trust_domain}/ns/{owner.namespace}/sa/{service_account}" if spiffe else ""
    client_id = spiffe_id or expand(template, owner)
    audience = settings.text(f"{VALIDATION}.audience")
    attributes = settings.get("trace.resourceAttributes") or {}
    subject = federated.subject_note(
        settings.values, client_id=client_id, namespace=owner.namespace, service_account=service_account
    )
    return WorkloadValues(
        client_name=expand(template, owner, dollar="$$"),
        client_id=client_id,
        audience=client_id if audience == "self" else audience,
        service_name=attributes.get(_SERVICE_NAME) or owner.name or owner.kind.lower(),
        spiffe_id=spiffe_id,
        notes=(*per_pod(settings), *subject),
    )


def per_pod(settings: ResolvedSettings) -> tuple[Finding, ...]:
    """Returns the note that each pod registers a client of its own, naming the object whose template says so."""
    if "{{.PodName}}" not in settings.text(TEMPLATE):
        return ()
    message = "clientNameTemplate names the pod: one client per pod is registered at the identity provider"
    return (Finding("ClientPerPod", message, TEMPLATE, (str(settings.origins[TEMPLATE].source),)),)


def expand(template: str, owner: WorkloadRef, *, dollar: str = "$") -> str:
    """Returns the template with its placeholders replaced.

    Args:
        template: Of the closed grammar.
        owner: The workload.
        dollar: What a literal ``$`` becomes: ``$$`` for an env value (Kubernetes, "Dependent environment variables").
    """
    values = {
        "Namespace": owner.namespace,
        "WorkloadName": owner.name or owner.kind.lower(),
        "WorkloadKind": owner.kind,
        "PodName": "$(POD_NAME)",
    }
    return _PLACEHOLDER.sub(lambda found: values[found[1]] if found[1] else dollar, template)
