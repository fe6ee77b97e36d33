"""What a workload is called at the identity provider: names, prefixes, client ids, audiences."""

# ruff: noqa: E501  # a table reads by line
from typing import Final

import pytest

from kagenti.core.settings import Layer, resolve, values_for
from kagenti.core.settings.identity import expand
from kagenti.core.workload import WorkloadRef
from tests.unit.core.settings.given import (
    AUDIENCE,
    CLUSTER,
    CREDENTIALS_SECRET,
    REALM,
    TEMPLATE,
    cluster,
    namespace,
    workload,
)

OWNER: Final = WorkloadRef("apps", "Deployment", "team1", "weather")
AUTH_TYPE: Final = "identity.clientRegistration.authType"
IDP_ALIAS: Final = "identity.clientRegistration.idpAlias"
SPIFFE: Final = "identity.spiffe.enabled"
TRUST: Final = "identity.spiffe.trustDomain"
ATTRIBUTES: Final = "trace.resourceAttributes"


@pytest.mark.parametrize(
    ("template", "plain", "env"),
    [
        ("{{.Namespace}}/{{.WorkloadName}}", "team1/weather", "team1/weather"),
        ("{{.WorkloadKind}}.{{.WorkloadName}}", "Deployment.weather", "Deployment.weather"),
        ("cost$", "cost$", "cost$$"),
        ("a$b$$", "a$b$$", "a$$b$$$$"),
        ("{{.PodName}}", "$(POD_NAME)", "$(POD_NAME)"),
        ("$/{{.PodName}}", "$/$(POD_NAME)", "$$/$(POD_NAME)"),
    ],
)
def test_expand(template: str, plain: str, env: str) -> None:
    """A closed grammar; a literal dollar is escaped once, and only in an env value (Kubernetes: ``$$`` is ``$``)."""
    assert expand(template, OWNER) == plain
    assert expand(template, OWNER, dollar="$$") == env


@pytest.mark.parametrize(
    ("reason", "layers", "name"),
    [
        ("the built-in name", (None, None, None), "team1/weather"),
        ("the cluster may name anything", (cluster({TEMPLATE: "shared"}), None, None), "shared"),
        ("a namespace may not", (None, namespace({TEMPLATE: "shared"}), None), "team1/shared"),
        ("nor a workload", (None, None, workload({TEMPLATE: "shared"})), "team1/shared"),
        ("a name that begins so already", (None, None, workload({TEMPLATE: "team1/x"})), "team1/x"),
        ("by placeholder", (None, None, workload({TEMPLATE: "{{.Namespace}}/x"})), "team1/x"),
        ("another namespace's", (None, None, workload({TEMPLATE: "team2/x"})), "team1/team2/x"),
        ("a name that only looks like it", (None, None, workload({TEMPLATE: "{{.Namespace}}x/y"})), "team1/team1x/y"),
        ("the namespace alone", (None, None, workload({TEMPLATE: "team1"})), "team1/team1"),
        ("the pod's", (None, None, workload({TEMPLATE: "{{.PodName}}"})), "team1/$(POD_NAME)"),
    ],
)  # fmt: skip
def test_client_names_from_below_the_cluster_stay_in_their_namespace(
    reason: str, layers: tuple[Layer | None, ...], name: str
) -> None:
    """The name also names the realm's audience scope: no team may take another's."""
    assert values_for(resolve(*layers), owner=OWNER, service_account="sa").client_name == name, reason


def test_a_client_name_that_differs_is_another_restart_revision() -> None:
    """The same template means another name by the layer that gives it; pods of before are stale."""
    by_cluster, by_team = resolve(cluster({TEMPLATE: "x"}), None, None), resolve(None, None, workload({TEMPLATE: "x"}))
    assert by_cluster.restart_revision != by_team.restart_revision


@pytest.mark.parametrize(
    ("reason", "layers", "client_id", "audience"),
    [
        ("self is the SPIFFE id", (None, None, None), "spiffe://cluster.local/ns/team1/sa/bot", "spiffe://cluster.local/ns/team1/sa/bot"),
        ("in the trust domain in force", (cluster({TRUST: "prod.example"}), None, None), "spiffe://prod.example/ns/team1/sa/bot", "spiffe://prod.example/ns/team1/sa/bot"),
        ("self is the client name with SPIFFE off", (cluster({SPIFFE: False}), None, None), "team1/weather", "team1/weather"),
        ("a literal dollar stays one", (cluster({SPIFFE: False}), None, workload({TEMPLATE: "cost$"})), "team1/cost$", "team1/cost$"),
        ("an audience of one's own", (None, None, workload({AUDIENCE: "https://me.example"})), "spiffe://cluster.local/ns/team1/sa/bot", "https://me.example"),
        ("and with credentials from elsewhere", (cluster({CREDENTIALS_SECRET: "s"}), None, workload({AUDIENCE: "me$"})), "spiffe://cluster.local/ns/team1/sa/bot", "me$"),
    ],
)  # fmt: skip
def test_client_id_and_audience(reason: str, layers: tuple[Layer | None, ...], client_id: str, audience: str) -> None:
    """Plain text: whoever puts them into an env entry escapes them there."""
    found = values_for(resolve(*layers), owner=OWNER, service_account="bot")
    assert (found.client_id, found.audience) == (client_id, audience), reason


def test_one_client_per_pod_is_said() -> None:
    """The warning ClientPerPod, and only where the template names the pod."""
    resolved = resolve(cluster({TEMPLATE: "{{.PodName}}"}), None, None)
    (note,) = values_for(resolved, owner=OWNER, service_account="sa").notes
    assert (note.reason, note.path) == ("ClientPerPod", TEMPLATE)
    assert values_for(resolve(None, None, None), owner=OWNER, service_account="sa").notes == ()


FEDERATED: Final = {AUTH_TYPE: "federated-jwt", SPIFFE: False, IDP_ALIAS: "kube"}
SUBJECT: Final = {**FEDERATED, TEMPLATE: "system:serviceaccount:{{.Namespace}}:{{.WorkloadName}}"}


@pytest.mark.parametrize(
    ("reason", "layers", "paths"),
    [
        ("alias and name fit", (cluster(SUBJECT), None, None), []),
        ("no alias", (cluster({key: value for key, value in SUBJECT.items() if key != IDP_ALIAS}), None, None), [IDP_ALIAS]),
        ("a name that is no subject", (cluster(FEDERATED), None, None), [TEMPLATE]),
        ("a subject from below the cluster layer gets a prefix", (cluster(FEDERATED), None, workload({TEMPLATE: SUBJECT[TEMPLATE]})), [TEMPLATE]),
        ("with SPIFFE the subject is the SPIFFE id", (cluster({**FEDERATED, SPIFFE: True}), None, None), []),
        ("by a secret nobody asks for a subject", (cluster({SPIFFE: False}), None, None), []),
        ("credentials from elsewhere are registered elsewhere", (cluster({**FEDERATED, CREDENTIALS_SECRET: "s", AUDIENCE: "me"}), None, None), []),
        ("no identity", (cluster({**FEDERATED, "identity.enabled": False}), None, None), []),
    ],
)  # fmt: skip
def test_a_client_without_a_secret_needs_provider_and_subject(
    reason: str, layers: tuple[Layer | None, ...], paths: list[str]
) -> None:
    """FederatedClient: said where settings cannot fit; nothing is refused, the provider may have been mended."""
    resolved = resolve(*layers)
    found = [note for note in resolved.findings if note.reason == "FederatedClient"]
    assert ([note.path for note in found], resolved.errors) == (paths, ()), reason
    assert all(CLUSTER in note.objects for note in found)


@pytest.mark.parametrize(
    ("values", "account", "said"),
    [(SUBJECT, "weather", ()), (SUBJECT, "bot", ("FederatedClient",)), (FEDERATED, "weather", ("FederatedClient",))],
)
def test_a_client_that_is_not_its_tokens_subject_is_told(
    values: dict[str, object], account: str, said: tuple[str, ...]
) -> None:
    """For one workload, whose service account is known: the pod's warning, and explain's."""
    notes = values_for(resolve(cluster(values), None, None), owner=OWNER, service_account=account).notes
    assert tuple(note.reason for note in notes) == said
    assert all(f"system:serviceaccount:team1:{account}" in note.message for note in notes)


@pytest.mark.parametrize(
    ("owner", "values", "name"),
    [
        (OWNER, {}, "weather"),
        (OWNER, {ATTRIBUTES: {"service.name": "mine"}}, "mine"),
        (WorkloadRef("", "Pod", "team1", ""), {REALM: "default"}, "pod"),
    ],
)
def test_service_name(owner: WorkloadRef, values: dict[str, object], name: str) -> None:
    """Of the attribute, else of the workload; a pod without a name yet is called by its kind."""
    assert values_for(resolve(None, None, workload(values)), owner=owner, service_account="sa").service_name == name
