"""An injected pod under other settings than before: it ends up as the untouched pod would, and others' changes stay."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.inject.given import RESOLVED, STAMP, injected, operations, pods, resolved, uninjected

JSON = Any  # a raw pod

AMOUNTS = {"components": {"envoyProxy": {"resources": {"limits": {"cpu": "2"}}, "imagePullPolicy": "Always"}}}
VARIANTS = {
    "built-in": RESOLVED,
    "everything": resolved(
        injection={"imagePullSecrets": ["mirror", "second"]},
        trace={
            "genai": {"enabled": True},
            "resourceAttributes": {"team": "a"},
            "exporters": [{"type": "otlp", "endpoint": "c:4317", "compression": "gzip"}],
            "integration": {
                "prometheus": {"enabled": True, "port": 9000},
                "mlflow": {"enabled": True, "trackingUri": "http://mlflow"},
            },
        },
    ),
    "other secrets": resolved(injection={"imagePullSecrets": ["second", "third"]}),
    "tracing only": resolved(identity={"enabled": False}),
    "no SPIFFE": resolved(identity={"spiffe": {"enabled": False}}),
    "AuthBridge": resolved(injection={"tokenExchange": "AuthBridge"}, trace={"exporters": []}),
    "credentials": resolved(
        identity={"clientRegistration": {"credentialsSecret": "s"}, "inbound": {"validation": {"audience": "x"}}}
    ),
    "amounts": resolved(**AMOUNTS),
}
variants = st.sampled_from(sorted(VARIANTS))
types = st.sampled_from(["", "agent", "tool"])


@given(pod=pods, first=variants, second=variants, types=st.tuples(types, types))
def test_what_settings_left_behind_goes(pod: JSON, first: str, second: str, types: tuple[str, str]) -> None:
    """inject_B(inject_A(p)) = inject_B(p), for any two settings and types; and the inverse still gives p."""
    one = injected(pod, given=VARIANTS[first], type_from_runtime=types[0])
    two = injected(one, given=VARIANTS[second], type_from_runtime=types[1])
    assert two == injected(pod, given=VARIANTS[second], type_from_runtime=types[1])
    assert uninjected(two) == pod


POD = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}


def _envoy(pod: JSON) -> JSON:
    return next(found for found in pod["spec"]["initContainers"] if found["name"] == "envoy-proxy")


def test_a_policy_that_the_api_server_sets_stays() -> None:
    """AlwaysPullImages sets Always at every admission: setting ours again would never end."""
    pod = injected(POD)
    for found in pod["spec"]["initContainers"]:
        found["imagePullPolicy"] = "Always"
    assert operations(pod) == ()


def test_a_policy_that_the_api_server_sets_stays_where_the_rest_is_mended() -> None:
    """A container that is mended for another reason keeps it."""
    pod = injected(POD)
    _envoy(pod).update(imagePullPolicy="Always", image="evil/envoy:1")
    mended = injected(pod)
    assert _envoy(mended)["imagePullPolicy"] == "Always"
    assert "evil" not in _envoy(mended)["image"]


@pytest.mark.parametrize("policy", ["Never", "", None])
def test_any_other_policy_is_set_again(policy: Any) -> None:
    """Only Always is the API server's."""
    pod = injected(POD)
    _envoy(pod)["imagePullPolicy"] = policy
    assert injected(pod) == injected(POD)


@pytest.mark.parametrize(("kind", "key", "amount"), [("limits", "cpu", "2"), ("requests", "memory", "1Gi")])
def test_resized_amounts_stay(kind: str, key: str, amount: str) -> None:
    """A native sidecar may be resized in place (KEP-1287) or by a VerticalPodAutoscaler; see docs/decisions/0008."""
    pod = injected(POD)
    _envoy(pod)["resources"][kind][key] = amount
    assert operations(pod) == ()


def test_resized_amounts_stay_where_the_rest_is_mended() -> None:
    """And where the order is written anew."""
    pod = injected(POD)
    _envoy(pod)["resources"]["limits"]["cpu"] = "2"
    pod["spec"]["initContainers"].reverse()
    assert _envoy(injected(pod))["resources"]["limits"]["cpu"] == "2"


def _other_key(envoy: JSON) -> None:
    envoy["resources"]["claims"] = [{"name": "gpu"}]


def _gone(envoy: JSON) -> None:
    del envoy["resources"]["limits"]["memory"]


def _zero(envoy: JSON) -> None:
    envoy["resources"]["limits"]["cpu"] = "0"


def _nonsense(envoy: JSON) -> None:
    envoy["resources"]["limits"]["cpu"] = "much"


def _no_number(envoy: JSON) -> None:
    envoy["resources"]["limits"]["cpu"] = "NaN"


def _without_end(envoy: JSON) -> None:
    envoy["resources"]["limits"]["cpu"] = "Infinity"


@pytest.mark.parametrize("change", [_other_key, _gone, _zero, _nonsense, _no_number, _without_end])
def test_what_no_resize_can_do_is_set_again(change: Any) -> None:
    """Resize changes amounts; it takes none away and adds no claims (KEP-1287)."""
    pod = injected(POD)
    change(_envoy(pod))
    assert injected(pod) == injected(POD)


def test_an_ordinary_init_container_is_not_resized() -> None:
    """proxy-init ends before anybody could: other amounts are set again."""
    pod = injected(POD)
    pod["spec"]["initContainers"][3]["resources"]["limits"]["cpu"] = "7"
    assert injected(pod) == injected(POD)


def test_new_amounts_of_the_settings_win_over_resized_ones() -> None:
    """Where the receipt says that other amounts were configured, what stands there is our own old value."""
    pod = injected(POD)
    _envoy(pod)["resources"]["limits"]["cpu"] = "3"
    assert injected(pod, given=VARIANTS["amounts"]) == injected(POD, given=VARIANTS["amounts"])


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ("2026-11-24T11:00:00Z", True),
        ("2026-11-24T11:00:00.5+01:00", True),
        ("not a date", False),
        ("2026-11-40T11:00:00Z", False),
        ("", False),
        ("2026-11-24", False),
    ],
)
def test_the_time_is_kept_where_it_is_one(found: str, kept: bool) -> None:
    """Set once and kept under reinvocation (RFC 3339), never a text that somebody forged."""
    pod = injected(POD)
    pod["metadata"]["annotations"]["kagenti.io/injected-at"] = found
    expected = found if kept else STAMP.now
    assert injected(pod)["metadata"]["annotations"]["kagenti.io/injected-at"] == expected


def test_a_foreign_entry_behind_ours_changes_nothing() -> None:
    """Others may append to the lists that we append to: the next patch is empty."""
    pod = copy.deepcopy(injected(POD, given=VARIANTS["everything"]))
    pod["spec"]["containers"][0]["env"].append({"name": "THEIRS", "value": "1"})
    pod["spec"]["volumes"].append({"name": "theirs", "emptyDir": {}})
    pod["spec"]["imagePullSecrets"].append({"name": "theirs"})
    assert operations(pod, given=VARIANTS["everything"]) == ()


def test_a_forged_receipt_takes_nothing_of_the_users_away() -> None:
    """What it lists beyond what an injection can have added stays."""
    forged = '{"annotations": ["mine"], "labels": ["app"], "volumes": ["data"]}'
    pod = copy.deepcopy(POD) | {"metadata": {"labels": {"app": "a"}, "annotations": {"mine": "1"}}}
    pod["metadata"]["annotations"]["kagenti.io/injected"] = forged
    pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    after = injected(pod)
    assert after["metadata"]["annotations"]["mine"] == "1"
    assert after["metadata"]["labels"]["app"] == "a"
    assert after["spec"]["volumes"][0] == {"name": "data", "emptyDir": {}}
