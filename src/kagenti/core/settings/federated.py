"""Client authentication without a secret and without SPIFFE: the pod's service-account token is the client's assertion.

The identity provider knows a client by the subject of that token, so what is registered must agree with what the token
says (reference: keycloak-facts section 4; authbridge-contract section 1.3).
"""

from collections.abc import Iterator, Mapping
from typing import Final

from kagenti.core.settings.derive import TEMPLATE
from kagenti.core.settings.model import JSON, Finding, Merged

FEDERATED_CLIENT: Final = "FederatedClient"
_REGISTRATION: Final = "identity.clientRegistration"
_ALIAS: Final = f"{_REGISTRATION}.idpAlias"
_AUTH_TYPE: Final = f"{_REGISTRATION}.authType"
_SUBJECT: Final = "system:serviceaccount:{{.Namespace}}:"


def by_service_account(values: Mapping[str, JSON]) -> bool:
    """Whether the client authenticates by a projected service-account token: federated-jwt without SPIFFE."""
    return values.get(_AUTH_TYPE) == "federated-jwt" and not values["identity.spiffe.enabled"]


def notes(merged: Merged) -> Iterator[Finding]:
    """Yields what the settings lack for that token to be accepted; it could still be mended at the identity provider."""
    values = merged.values
    if not _registered(values):
        return
    if not values.get(_ALIAS):
        lacks = (
            f"{_ALIAS} is not set: name the alias of the identity provider of type kubernetes that trusts this cluster"
        )
        yield _note(merged, lacks, _ALIAS)
    if not values[TEMPLATE].startswith(_SUBJECT):
        lacks = (
            f"a client named by {TEMPLATE} {values[TEMPLATE]!r} is not the token's subject: have the cluster's config name "
            f"it {_SUBJECT}{{{{.WorkloadName}}}}, or set jwt.credential.sub of each client at the identity provider"
        )
        yield _note(merged, lacks, TEMPLATE)


def _registered(values: Mapping[str, JSON]) -> bool:
    """Whether our own registration makes such a client, which the subject of a token is to be written to."""
    ours = values["identity.enabled"] and values["components.clientRegistration.enabled"]
    return bool(ours) and by_service_account(values) and not values.get(f"{_REGISTRATION}.credentialsSecret")


def _note(merged: Merged, lacks: str, path: str) -> Finding:
    message = (
        f"{_AUTH_TYPE} is 'federated-jwt' with SPIFFE off, so the service-account token is the assertion, but {lacks}"
    )
    sources = (merged.origins[found].source for found in (_AUTH_TYPE, path) if found in merged.origins)
    return Finding(FEDERATED_CLIENT, message, path, tuple(sorted({str(source) for source in sources})))


def subject_note(
    values: Mapping[str, JSON], *, client_id: str, namespace: str, service_account: str
) -> tuple[Finding, ...]:
    """Returns the note that one workload's client is not the subject of its token: exchanges answer ClientRefused."""
    subject = f"system:serviceaccount:{namespace}:{service_account}"
    if not _registered(values) or client_id == subject:
        return ()
    message = (
        f"token exchange authenticates as {subject!r}, but the client is registered as {client_id!r}: name the service "
        "account so that both agree, or set jwt.credential.sub of the client at the identity provider"
    )
    return (Finding(FEDERATED_CLIENT, message, TEMPLATE),)
