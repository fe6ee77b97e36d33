"""inject is a fixed point, uninject its inverse, and nothing outside the touch list changes: properties."""

import copy
from typing import Any

import pytest
from hypothesis import given

from tests.unit.core.inject.given import injected, operations, pods, uninjected

JSON = Any  # a raw pod

OURS = ("spiffe-helper", "kagenti-client-registration", "envoy-proxy", "proxy-init")


@given(pods)
def test_a_second_injection_is_empty(pod: JSON) -> None:
    """inject(inject(p)) takes no operation."""
    assert operations(injected(pod)) == ()


@given(pods)
def test_uninject_is_the_inverse(pod: JSON) -> None:
    """uninject(inject(p)) = p, unknown fields and empty lists included."""
    assert uninjected(injected(pod)) == pod


@given(pods)
def test_ours_come_first_in_our_order(pod: JSON) -> None:
    """The order contract holds, and the user's init containers keep theirs."""
    after = [found["name"] for found in injected(pod)["spec"]["initContainers"]]
    before = [found["name"] for found in pod["spec"].get("initContainers") or ()]
    assert after == [*OURS, *before]


@given(pods)
def test_app_containers_only_gain_environment(pod: JSON) -> None:
    """What a container sets stays; new names stand behind its own."""
    for before, after in zip(pod["spec"]["containers"], injected(pod)["spec"]["containers"], strict=True):
        assert {key: value for key, value in after.items() if key != "env"} == {
            key: value for key, value in before.items() if key != "env"
        }
        own = before.get("env") or []
        assert after["env"][: len(own)] == own
        found = [entry["name"] for entry in after["env"]]
        assert len(set(found)) == len(found)


def _reorder(pod: JSON) -> None:
    pod["spec"]["initContainers"].reverse()


def _strip_restart_policy(pod: JSON) -> None:
    for found in pod["spec"]["initContainers"]:
        found.pop("restartPolicy", None)


def _change_image(pod: JSON) -> None:
    pod["spec"]["initContainers"][2]["image"] = "evil/envoy:1"


def _drop_one(pod: JSON) -> None:
    del pod["spec"]["initContainers"][0]


def _prepend(pod: JSON) -> None:
    pod["spec"]["initContainers"].insert(0, {"name": "vault-agent-init", "image": "vault"})


def _drop_volume(pod: JSON) -> None:
    del pod["spec"]["volumes"][-1]


def _change_environment(pod: JSON) -> None:
    next(entry for entry in pod["spec"]["containers"][0]["env"] if entry["name"] == "OTEL_SERVICE_NAME")["value"] = (
        "other"
    )


def _add_container(pod: JSON) -> None:
    pod["spec"]["containers"].append({"name": "late", "image": "late"})


def _forge_receipt(pod: JSON) -> None:
    pod["metadata"]["annotations"]["kagenti.io/injected"] = '{"environment": 5, "created": {"a": 1}}'


def _garble_receipt(pod: JSON) -> None:
    pod["metadata"]["annotations"]["kagenti.io/injected"] = "not json"


@pytest.mark.parametrize(
    ("mutate", "reason"),
    [
        (_reorder, "another webhook reorders init containers"),
        (_strip_restart_policy, "a webhook built against an old API drops restartPolicy"),
        (_change_image, "our image is exchanged"),
        (_drop_one, "one of ours is dropped"),
        (_prepend, "another webhook puts its init container first"),
        (_drop_volume, "one of our volumes is dropped"),
        (_change_environment, "our environment is changed"),
        (_add_container, "a container is added after us"),
        (_forge_receipt, "the receipt has wrong types"),
        (_garble_receipt, "the receipt is not JSON"),
    ],
)
def test_a_foreign_mutation_converges(mutate: Any, reason: str) -> None:
    """After somebody else's change, one more injection restores what we set, and the next one is empty."""
    pod = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    changed = copy.deepcopy(injected(pod))
    mutate(changed)
    assert operations(changed) != (), reason
    mended = injected(changed)
    assert [found["name"] for found in mended["spec"]["initContainers"]][:4] == list(OURS), reason
    assert all("evil" not in found["image"] for found in mended["spec"]["initContainers"]), reason
    assert operations(mended) == (), reason


def test_the_api_servers_own_additions_are_not_drift() -> None:
    """The service-account mount and another spelling of a quantity leave the patch empty."""
    pod = injected({"spec": {"containers": [{"name": "a", "image": "a"}]}})
    mount = {
        "name": "kube-api-access-x7",
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        "readOnly": True,
    }
    for found in pod["spec"]["initContainers"]:
        found.setdefault("volumeMounts", []).append(mount)
        found["resources"]["limits"]["cpu"] = {"100m": "0.1", "200m": "0.2", "1": "1000m"}[
            found["resources"]["limits"]["cpu"]
        ]
    assert operations(pod) == ()
