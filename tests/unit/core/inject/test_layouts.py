"""Another layout of containers is a row: a second one keeps every invariant, with no other line of code changed."""

from typing import Any

import pytest
from hypothesis import given

from kagenti.core import inject, sidecars
from kagenti.core.sidecars import LAYOUT, Row
from kagenti.core.sidecars.containers import Plan, client_registration, envoy_proxy, proxy_init, spiffe_helper
from kagenti.core.workload import Subject
from tests.unit.core.inject.given import OWNER, RESOLVED, built, injected, operations, pods, uninjected

JSON = Any  # a raw pod or container


def _combined(plan: Plan) -> dict[str, JSON]:
    """One container that does what three do (reference: authbridge-contract section 1.6), with all their mounts."""
    parts = (envoy_proxy(plan), spiffe_helper(plan), client_registration(plan))
    mounts = {mount["mountPath"]: mount for part in parts for mount in part["volumeMounts"]}
    return {**parts[0], "name": "authbridge", "volumeMounts": [mounts[path] for path in sorted(mounts)]}


COMBINED: sidecars.Layout = (
    Row(
        "envoyProxy",
        "authbridge",
        lambda settings: settings.flag("identity.enabled"),
        _combined,
        proxies=True,
        identifies=True,
        registers=True,
    ),
    Row("proxyInit", "proxy-init", lambda settings: settings.flag("identity.enabled"), proxy_init, redirects=True),
)
BY_NAME = {"separate": LAYOUT, "combined": COMBINED}
both = pytest.mark.parametrize("layout", BY_NAME.values(), ids=BY_NAME)


@both
@given(pod=pods)
def test_the_invariants_hold(layout: sidecars.Layout, pod: JSON) -> None:
    """Fixed point, inverse, order."""
    after = injected(pod, layout=layout)
    assert operations(after, layout=layout) == ()
    assert uninjected(after, layout=layout) == pod
    own = [found["name"] for found in pod["spec"].get("initContainers") or ()]
    assert [found["name"] for found in after["spec"]["initContainers"]] == [*(row.name for row in layout), *own]


@both
@given(pod=pods)
def test_nothing_outside_the_touch_list_changes(layout: sidecars.Layout, pod: JSON) -> None:
    """The published list is what really differs, path by path; and each of its lines is used."""
    touched = {_line(path) for path in _differences(pod, injected(pod, layout=layout))}
    assert None not in touched
    assert touched >= {"spec.initContainers", "spec.volumes", "metadata.annotations", "metadata.labels"}
    published = {line.partition(":")[0] for line in inject.TOUCH_LIST}
    assert touched <= published


def _differences(before: JSON, after: JSON, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Returns the paths at which two objects differ; a list of named items is compared by name."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        return [found for key in keys for found in _differences(before.get(key), after.get(key), (*path, key))]
    if before is None and isinstance(after, dict):
        return [(*path, key) for key in after]
    if path[-1:] == ("containers",):
        assert [found["name"] for found in before] == [found["name"] for found in after]
        pairs = zip(before, after, strict=True)
        return [found for one, other in pairs for found in _differences(one, other, (*path, "*"))]
    return [] if before == after else [path]


def _line(path: tuple[str, ...]) -> str | None:
    """Returns the line of the touch list that a path belongs to."""
    head = ".".join(path[:2])
    if head in (
        "metadata.annotations",
        "metadata.labels",
        "spec.initContainers",
        "spec.volumes",
        "spec.imagePullSecrets",
    ):
        return head
    return "spec.containers[*].env" if path[:1] == ("spec",) and path[1:] == ("containers", "*", "env") else None


def test_names_follow_from_the_table() -> None:
    """What a layout names is reserved, and what its containers do is asked of its rows."""
    pod = {"spec": {"containers": [{"name": "a", "image": "a"}, {"name": "authbridge", "image": "i"}]}}
    made = built(pod, layout=COMBINED)
    assert made.names == ("authbridge", "proxy-init")
    assert (made.proxied, made.port_mapping, made.waits_for) == (True, {8080: 8081}, "")
    refused = inject.preflight(Subject(OWNER, pod), made, RESOLVED, mandatory=False, namespace_labels={})
    assert isinstance(refused, inject.Refusal)
    assert (refused.reason, refused.field) == ("ReservedName", "spec.containers[1].name")


def test_a_pod_of_the_other_layout_converges() -> None:
    """Where a layout of before is known, its containers go as the new ones come."""
    pod = {"spec": {"containers": [{"name": "a", "image": "a"}]}}
    reserved = sidecars.RESERVED_CONTAINERS
    assert {row.name for row in LAYOUT} == reserved
    assert injected(injected(pod), layout=COMBINED) == injected(pod, layout=COMBINED)
