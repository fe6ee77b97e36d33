"""Pods and settings as the properties of injection take them, and injection itself as one step."""

from typing import Any

import orjson
from hypothesis import strategies as st

from kagenti.core import inject, sidecars
from kagenti.core import settings as layering
from kagenti.core.installation import Installation
from kagenti.core.workload import Subject, WorkloadRef
from tests.json_patch import applied

JSON = Any  # a raw pod

RESOLVED = layering.resolve(None, None, None)
STAMP = inject.Stamp(trigger="Label", now="2026-11-24T12:00:00Z", version="0.1.0", layout=1)
LATER = inject.Stamp(trigger="Label", now="2030-01-01T00:00:00Z", version="0.1.0", layout=1)
OWNER = WorkloadRef("apps", "Deployment", "team1", "weather")


def resolved(**spec: JSON) -> layering.ResolvedSettings:
    """Returns the settings of a cluster layer of that spec; asserts that they may be used."""
    manifest = {"kind": "AgentRuntimeClusterConfig", "metadata": {"name": "default"}, "spec": spec}
    found = layering.resolve(layering.parse_layer("cluster", manifest), None, None)
    assert found.errors == ()
    return found


def built(
    pod: JSON,
    *,
    given: layering.ResolvedSettings = RESOLVED,
    layout: sidecars.Layout = sidecars.LAYOUT,
    locked: tuple[str, ...] = (),
) -> sidecars.Sidecars:
    """Returns what the pod gets."""
    subject = Subject(OWNER, pod)
    values = layering.values_for(given, owner=OWNER, service_account=subject.service_account)
    return sidecars.build(
        given, subject=subject, values=values, installation=Installation(), layout=layout, locked=locked
    )


def operations(
    pod: JSON,
    *,
    given: layering.ResolvedSettings = RESOLVED,
    layout: sidecars.Layout = sidecars.LAYOUT,
    stamp: inject.Stamp = LATER,
    type_from_runtime: str = "",
) -> tuple[JSON, ...]:
    """Returns the operations that injecting this pod takes; asserts that it is not refused and not modified."""
    before = orjson.dumps(pod)
    made = built(pod, given=given, layout=layout)
    result = inject.inject(Subject(OWNER, pod), made, settings=given, stamp=stamp, type_from_runtime=type_from_runtime)
    assert isinstance(result, inject.Injection)
    assert orjson.dumps(pod) == before
    return result.operations


def injected(
    pod: JSON,
    *,
    given: layering.ResolvedSettings = RESOLVED,
    layout: sidecars.Layout = sidecars.LAYOUT,
    stamp: inject.Stamp = STAMP,
    type_from_runtime: str = "",
) -> JSON:
    """Returns the pod after injection."""
    made = operations(pod, given=given, layout=layout, stamp=stamp, type_from_runtime=type_from_runtime)
    return applied(pod, made)


def uninjected(pod: JSON, *, layout: sidecars.Layout = sidecars.LAYOUT) -> JSON:
    """Returns the pod after the inverse."""
    reserved = {row.name for row in layout}
    return applied(pod, inject.uninject(Subject(OWNER, pod), reserved=reserved))


names = st.text("abcdefgh", min_size=1, max_size=6)
entries = st.fixed_dictionaries(
    {"name": st.sampled_from(["A", "B", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER"])}, optional={"value": names}
)
containers = st.fixed_dictionaries(
    {"name": names, "image": names},
    optional={
        "env": st.lists(entries, max_size=3, unique_by=lambda entry: entry["name"]),
        "ports": st.lists(st.fixed_dictionaries({"containerPort": st.integers(1, 9000)}), max_size=2),
        "futureField": st.dictionaries(names, st.integers(-5, 5), max_size=2),
        "volumeMounts": st.just([{"name": "data", "mountPath": "/data"}]),
    },
)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(names, names, max_size=2),
        "annotations": st.dictionaries(names, names, max_size=2),
        "futureMeta": st.integers(-5, 5),
    },
)
specs = st.fixed_dictionaries(
    {"containers": st.lists(containers, min_size=1, max_size=3, unique_by=lambda found: found["name"])},
    optional={
        "initContainers": st.lists(containers, max_size=2, unique_by=lambda found: found["name"]),
        "volumes": st.sampled_from([[], [{"name": "data", "emptyDir": {}}]]),
        "imagePullSecrets": st.sampled_from([[], [{"name": "pull"}], [{"name": "mirror"}]]),
        "futureSpec": st.dictionaries(names, names, max_size=2),
    },
)
pods = st.fixed_dictionaries({"spec": specs}, optional={"metadata": metadata})
