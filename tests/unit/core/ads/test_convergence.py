"""Whatever happens to the requests on their way, Envoy ends with the latest snapshot and never lacks a route's cluster."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from kagenti.core import ads
from kagenti.core.ads import CLUSTER, EXTENSION, ROUTE
from tests.unit.core.ads.envoy_model import NAMES, Envoy, cluster, extension, is_bad, route

CLUSTERS = ("a", "b", "c")
CONTENT = st.sampled_from(("1", "2", "3", "bad1", "bad2"))
GOOD = st.sampled_from(("1", "2", "3"))


@st.composite
def snapshots(draw: Callable[[Any], Any], content: st.SearchStrategy[str] = CONTENT) -> ads.Snapshot:
    """Any snapshot without dangling references; routes may be there or not, `jwt` may be withheld."""
    clusters = draw(st.lists(st.sampled_from(CLUSTERS), unique=True))
    withheld = [(EXTENSION, "jwt")] if draw(st.integers(0, 4)) == 0 else []
    given = [name for name in NAMES[EXTENSION] if (EXTENSION, name) not in withheld]
    some = st.lists(st.sampled_from(clusters), unique=True) if clusters else st.just([])
    resources = [cluster(name, draw(content)) for name in clusters]
    resources += [extension(name, draw(content), *draw(some)) for name in given]
    resources += [
        route(name, draw(content), *draw(some), extensions=("jwt",) if draw(st.booleans()) else ())
        for name in NAMES[ROUTE]
    ]
    return ads.Snapshot.of(resources, withheld=withheld)


class Conversation(RuleBasedStateMachine):
    """One Envoy over time; replies arrive in order as on one gRPC stream, answers in any order and more than once."""

    kind: ads.Kind = "delta"

    @initialize(snapshot=snapshots())
    def begin(self, snapshot: ads.Snapshot) -> None:
        self.envoy = Envoy(self.kind)
        self.snapshot = snapshot
        self.remembers = True
        self.connect()

    def connect(self) -> None:
        self.stream = ads.Stream(self.kind)
        self.replies: list[ads.Reply] = []
        self.requests = list(self.envoy.first_requests())
        self.answered: list[ads.Request] = []
        self.refused_by_nonce: dict[str, ads.Encoded] = {}
        self.latest: dict[ads.Reference, str] = {}
        self.refused_now: set[ads.Encoded] = set()
        self.refused_clusters: set[str] = set()
        self.sent(self.stream.on_snapshot(self.snapshot))

    @rule(snapshot=snapshots())
    def change(self, snapshot: ads.Snapshot) -> None:
        self.snapshot = snapshot
        self.refused_now.clear()
        self.sent(self.stream.on_snapshot(snapshot))

    @rule()
    def repeat_the_snapshot(self) -> None:
        assert self.stream.on_snapshot(self.snapshot) == []

    @precondition(lambda self: self.replies)
    @rule()
    def receive(self) -> None:
        self.requests += self.checked(self.replies.pop(0))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def deliver_any(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.integers(0, len(self.requests) - 1)))

    @precondition(lambda self: self.answered)
    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        self.sent(self.stream.on_request(data.draw(st.sampled_from(self.answered))))

    @rule()
    def reconnect(self) -> None:
        self.remembers = self.kind == "delta"
        self.connect()

    def deliver(self, index: int) -> None:
        request = self.requests.pop(index)
        if request.nonce:
            self.answered.append(request)
        refused = self.refused_by_nonce.get(request.nonce)
        if refused is not None and self.latest[refused.type_url, refused.name] == request.nonce:
            self.refused_now.add(refused)
        self.sent(self.stream.on_request(request))

    def sent(self, replies: list[ads.Reply]) -> None:
        """Nothing that the stream knows to be refused is sent again before the content changes."""
        for reply in replies:
            assert len(reply.resources) != 1 or reply.resources[0] not in self.refused_now
            self.latest.update({(reply.type_url, resource.name): reply.nonce for resource in reply.resources})
        self.replies += replies

    def checked(self, reply: ads.Reply) -> list[ads.Request]:
        """Takes a reply as Envoy does and looks whether it should have been sent at all."""
        for resource in reply.resources:
            # Clusters come first; only where Envoy refused them, which the stream may not have known, are they missing.
            assert set(self.envoy.missing(resource)) <= self.refused_clusters
        fault = self.envoy.fault(reply)
        if reply.type_url == CLUSTER:
            carried = {resource.name for resource in reply.resources}
            self.refused_clusters = self.refused_clusters | carried if fault else self.refused_clusters - carried
        if fault and len(reply.resources) == 1 and not self.envoy.missing(reply.resources[0]):
            self.refused_by_nonce[reply.nonce] = reply.resources[0]
        requests = self.envoy.take(reply)
        if self.remembers:  # after another version, a SotW stream does not know which clusters are old
            assert not [name for held in self.envoy.held[ROUTE].values() for name in self.envoy.missing(held)]
        return requests

    def settle(self) -> None:
        for _ in range(2000):
            if self.replies:
                self.receive()
            elif self.requests:
                self.deliver(0)
            else:
                return
        raise AssertionError("the stream never comes to rest")

    def teardown(self) -> None:
        if not hasattr(self, "envoy"):
            return
        self.settle()
        self.check_at_rest()
        self.mend()

    def check_at_rest(self) -> None:
        """Everything good that does not hang on something bad has arrived; the verdict says so."""
        state = self.stream.state()
        bad = [r for found in self.snapshot.resources.values() for r in found.values() if is_bad(r)]
        assert state.revision == self.snapshot.revision
        if bad:
            assert state.verdict == "rejected"
            return
        assert state.verdict == ("pending" if self.snapshot.withheld else "propagated")
        for type_url, found in self.snapshot.resources.items():
            held = self.envoy.held[type_url]
            assert {name: held.get(name) for name in found} == dict(found)
        if not self.snapshot.withheld:
            assert self.envoy.held[CLUSTER].keys() == self.snapshot.resources[CLUSTER].keys()

    def mend(self) -> None:
        """A good snapshot repairs everything, and a reconnect with it resends nothing."""
        clusters = [cluster(name, "mended") for name in CLUSTERS]
        extensions = [extension(name, "mended") for name in NAMES[EXTENSION]]
        routes = [route(name, "mended", *CLUSTERS, extensions=("jwt",)) for name in NAMES[ROUTE]]
        self.change(ads.Snapshot.of([*clusters, *extensions, *routes]))
        self.settle()
        self.check_at_rest()
        self.connect()
        while self.requests:
            self.deliver(0)
        assert [reply for reply in self.replies if reply.resources or reply.removed] == []
        assert self.stream.state().verdict == "propagated"


@pytest.mark.parametrize("kind", ["delta", "sotw"])
def test_envoy_converges_whatever_happens_to_its_answers(kind: ads.Kind) -> None:
    machine = type("Conversation", (Conversation,), {"kind": kind})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=2 * settings.default.max_examples,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
