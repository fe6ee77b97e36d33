"""Remembered sidecars are the ones that would be built: everything that building reads is in the key."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as sampling
from hypothesis import strategies as st

from kagenti.core import settings, sidecars
from kagenti.core.admission.memo import SidecarMemo
from kagenti.core.installation import Installation
from kagenti.core.workload import Subject
from tests.unit.core.admission.cluster import CONTAINER, DEPLOYMENT, pod

JSON = Any  # a raw pod

RESOLVED = settings.resolve(None, None, None)
_PROBES = st.sampled_from(
    [None, {"httpGet": {"path": "/a", "port": 8081}}, {"httpGet": {"port": "web"}}, {"tcpSocket": {"port": 1}}]
)
_CONTAINERS = st.lists(
    st.builds(
        lambda name, port, probe: {
            **CONTAINER,
            "name": name,
            "ports": [{"containerPort": port, "name": "web"}],
            **({"readinessProbe": probe} if probe else {}),
        },
        st.sampled_from(["agent", "second", "envoy-proxy"]),
        st.sampled_from([8080, 8081, 9000]),
        _PROBES,
    ),
    min_size=1,
    max_size=2,
)
_PODS = st.builds(
    lambda containers, labels, annotations, account: pod(
        labels=labels, annotations=annotations, containers=containers, serviceAccountName=account
    ),
    _CONTAINERS,
    st.dictionaries(
        st.sampled_from(["kagenti.io/envoy-proxy-inject", "kagenti.io/spiffe-helper-inject"]), st.just("false")
    ),
    st.dictionaries(
        st.sampled_from(["kagenti.io/inbound-ports-exclude", "kagenti.io/outbound-ports-exclude"]),
        st.sampled_from(["8081", "9000"]),
    ),
    st.sampled_from(["default", "other"]),
)


def _fresh(subject: Subject, locked: tuple[str, ...]) -> sidecars.Sidecars:
    values = settings.values_for(RESOLVED, owner=subject.owner, service_account=subject.service_account)
    return sidecars.build(RESOLVED, subject=subject, values=values, installation=Installation(), locked=locked)


@given(pods=st.lists(_PODS, min_size=2, max_size=6), locked=st.sampled_from([(), ("components.envoyProxy.enabled",)]))
@sampling(max_examples=3 * sampling.default.max_examples)  # few pods agree by chance
def test_remembered_is_fresh(pods: list[JSON], locked: tuple[str, ...]) -> None:
    """Whatever was built before, each pod gets what it would get alone."""
    memo = SidecarMemo()
    for manifest in pods:
        subject = Subject(DEPLOYMENT, manifest)
        built = memo.build(RESOLVED, subject=subject, installation=Installation(), locked=locked)
        assert built == _fresh(subject, locked)


@pytest.mark.parametrize("room", [1, 2])
def test_the_memo_is_bounded(room: int) -> None:
    """Old ones go."""
    memo = SidecarMemo(room)
    for account in ("a", "b", "c"):
        memo.build(
            RESOLVED,
            subject=Subject(DEPLOYMENT, pod(serviceAccountName=account)),
            installation=Installation(),
            locked=(),
        )
    assert len(memo) == room


def test_replicas_share() -> None:
    """Two pods of one workload that differ in nothing that matters."""
    memo = SidecarMemo()
    first, second = (
        memo.build(
            RESOLVED, subject=Subject(DEPLOYMENT, pod(annotations={"n": n})), installation=Installation(), locked=()
        )
        for n in ("1", "2")
    )
    assert first is second
