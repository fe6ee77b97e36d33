"""From streams to one condition: unknown is never true, and one refusal is never hidden."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti.core import propagation
from kagenti.core.ads import CLUSTER, ROUTE, Rejection, StreamState, TypeState
from kagenti.core.propagation import Counts, Standing
from kagenti_api.v1alpha1.agentruntime import AgentRuntimeStatus

JSON = Any  # entries and conditions

REFUSED = StreamState(
    "r1",
    "rejected",
    (
        TypeState(CLUSTER, "v", subscribed=True),
        TypeState(ROUTE, "v", subscribed=True, rejected=(Rejection("inbound", "v", "route: unknown cluster 'nope'"),)),
    ),
)
LINE = "RouteConfiguration inbound: route: unknown cluster 'nope'"


@pytest.mark.parametrize(
    ("state", "kept", "expected", "reason"),
    [
        (None, "", Standing("pending"), "a stream that has not reported yet"),
        (StreamState("", "pending"), "", Standing("pending"), "no snapshot was sent yet"),
        (StreamState("r1", "propagated"), "", Standing("acked"), "everything desired was acknowledged"),
        (StreamState("r0", "propagated"), "", Standing("pending"), "an older snapshot was"),
        (StreamState("r1", "pending"), "", Standing("pending"), "answers are on the way"),
        (REFUSED, "", Standing("rejected", LINE), "a NACK is named by type and resource"),
        (StreamState("r0", "rejected", REFUSED.types), "", Standing("pending"), "the refused one is not desired any more"),
        (StreamState("r1", "propagated"), "mend X", Standing("pending", "mend X"), "the newest cannot even be built"),
        (REFUSED, "mend X", Standing("rejected", LINE), "a refusal says more"),
    ],
)  # fmt: skip
def test_standing_of_a_proxy(state: StreamState | None, kept: str, expected: Standing, reason: str) -> None:
    """Acknowledged means: the snapshot that it should have, and all of it."""
    assert propagation.standing(state, desired="r1", kept=kept) == expected, reason


def test_counts_of_a_workload() -> None:
    """Each proxy counts once, and one line stands for all refusals."""
    standings = [Standing("acked"), Standing("pending", "kept"), Standing("rejected", "b"), Standing("rejected", "a")]
    counts = propagation.tally(standings, disconnected=2)
    assert counts == Counts(acked=1, rejected=2, pending=1, disconnected=2, refusal="a", kept="kept")
    assert (counts.connected, counts.empty, Counts().empty) == (4, False, True)


counts = st.builds(
    Counts, *[st.integers(0, 9)] * 4, refusal=st.sampled_from(("", "a", "b")), kept=st.sampled_from(("", "k", "l"))
)


@given(st.lists(counts, max_size=6), st.randoms())
def test_sums_do_not_depend_on_order(several: list[Counts], random: Any) -> None:
    """A config's entry is the sum over its workloads, in whichever order they come."""
    shuffled = random.sample(several, len(several))
    assert sum(several, Counts()) == sum(shuffled, Counts())


def test_an_entry_fits_the_schema() -> None:
    """The very names and bounds of the CRD; no error, no field."""
    entry = propagation.entry("xds-1", Counts(acked=1, refusal="x" * 5000), revision="abc")
    assert (len(entry["lastError"]), "lastError" in propagation.entry("xds-1", Counts(), revision="abc")) == (
        1024,
        False,
    )
    AgentRuntimeStatus.model_validate({"propagation": [entry]})


@pytest.mark.parametrize(
    ("lost", "proxies", "connected", "expected", "reason"),
    [
        (2, 5, 5, 0, "they came back to another replica"),
        (2, 5, 4, 1, "one of them did"),
        (2, 5, 2, 2, "others miss one of their own"),
        (1, 2, 5, 0, "a replica that is gone left its count behind"),
    ],
)
def test_disconnected_is_what_nobody_else_has(
    lost: int, proxies: int, connected: int, expected: int, reason: str
) -> None:
    """Counts are all that replicas know of each other."""
    assert propagation.disconnected(lost, proxies=proxies, connected=connected) == expected, reason


def _entry(replica: str = "a", *, revision: str = "r", **counts: Any) -> JSON:
    return propagation.entry(replica, Counts(**counts), revision=revision)


@pytest.mark.parametrize(
    ("entries", "proxies", "expected", "reason"),
    [
        ([_entry(acked=2), _entry("b", acked=3)], 5, ("True", "Propagated"), "all of them, over two replicas"),
        ([_entry(acked=2), _entry("b", acked=2)], 5, ("False", "Pending"), "one has no stream anywhere"),
        ([_entry(acked=4, pending=1)], 5, ("False", "Pending"), "one has not answered"),
        ([_entry(acked=4), _entry("b", acked=1, revision="old")], 5, ("False", "Pending"), "one replica is behind"),
        ([_entry(acked=5), _entry("b", acked=5, revision="old")], 5, ("True", "Propagated"), "a dead entry is ignored"),
        ([_entry(acked=4, rejected=1)], 5, ("False", "Rejected"), "a refusal is never hidden"),
        ([_entry(acked=5), _entry("b", rejected=1)], 5, ("False", "Rejected"), "not even by enough others"),
        ([_entry(acked=5), _entry("b", rejected=1, revision="old")], 5, ("True", "Propagated"), "of the older revision"),
        ([], 5, ("False", "NoReplica"), "nobody serves"),
        ([_entry(disconnected=5)], 5, ("False", "NoReplica"), "nobody serves any more"),
        ([], 0, ("Unknown", "NoProxies"), "nothing runs: unknown, not true"),
        ([_entry(acked=1)], 0, ("Unknown", "NoProxies"), "a pod that has just gone"),
        ([_entry(pending=1)], 0, ("Unknown", "NoProxies"), "a pod that starts"),
        ([_entry(pending=1, kept="no keys have come")], 0, ("False", "Pending"), "a pod that waits at its startupProbe"),
        ([{"replica": "x", "acked": "many", "revision": "r"}, {}], 1, ("False", "NoReplica"), "odd entries count nothing"),
    ],
)  # fmt: skip
def test_conclusion_of_all_entries(entries: JSON, proxies: int, expected: tuple[str, str], reason: str) -> None:
    """Status and reason."""
    found = propagation.conclude(entries, proxies=proxies, revision="r")
    assert (found.status, found.reason) == expected, reason


@given(
    st.lists(st.builds(_entry, revision=st.sampled_from("rs"), acked=st.integers(0, 3), rejected=st.integers(0, 2),
                       pending=st.integers(0, 3)), max_size=4),
    st.integers(0, 6),
)  # fmt: skip
def test_true_is_proved(entries: JSON, proxies: int) -> None:
    """True only with as many acknowledgements of this revision as proxies run, at least one, and no refusal."""
    if propagation.conclude(entries, proxies=proxies, revision="r").status == "True":
        current = [entry for entry in entries if entry["revision"] == "r"]
        assert 0 < proxies <= sum(entry["acked"] for entry in current)
        assert not any(entry["rejected"] for entry in current)


def test_refusal_in_one_line() -> None:
    """Type of the resource, number of pods, one cleaned line (spec 05)."""
    entries = [_entry(acked=4, kept="aaa"), _entry("b", rejected=1, refusal=LINE)]
    message = "1 of 5 proxies refused the configuration and keep the last good one: " + LINE
    assert propagation.conclude(entries, proxies=5, revision="r").message == message


def test_what_keeps_the_newest_back_is_said() -> None:
    """An unreadable layer: proxies run on, and the condition names the object to mend."""
    entries = [_entry(pending=1, kept="AgentRuntimeConfig team1/default: spec.identity is 7; correct it")]
    found = propagation.conclude(entries, proxies=1, revision="r")
    assert (found.reason, found.message) == (
        "Pending",
        "AgentRuntimeConfig team1/default: spec.identity is 7; correct it",
    )


class TestCondition:
    """The condition in the API's form, written only when it changes."""

    TRUE = propagation.Conclusion("True", "Propagated", "all")
    FALSE = propagation.Conclusion("False", "Pending", "some")

    def _write(
        self, conclusion: propagation.Conclusion, observed: JSON, *, generation: int = 1, now: str = "t2"
    ) -> JSON:
        return propagation.condition(conclusion, observed=observed, generation=generation, now=now)

    def test_first_time(self) -> None:
        """Complete, and accepted by the kind's model."""
        made = self._write(self.TRUE, None)
        assert (made["type"], made["lastTransitionTime"], made["observedGeneration"]) == ("ConfigPropagated", "t2", 1)
        AgentRuntimeStatus.model_validate({"conditions": [made]})

    def test_nothing_new(self) -> None:
        """The same conclusion about the same generation is not written again."""
        assert self._write(self.TRUE, self._write(self.TRUE, None)) is None

    @pytest.mark.parametrize(
        ("conclusion", "generation", "time"), [(FALSE, 1, "t3"), (TRUE, 2, "t2")], ids=["status", "generation"]
    )
    def test_transition_time_is_that_of_the_status(
        self, conclusion: propagation.Conclusion, generation: int, time: str
    ) -> None:
        """metav1.Condition: it moves when the status does, and only then."""
        written = self._write(conclusion, self._write(self.TRUE, None), generation=generation, now="t3")
        assert written["lastTransitionTime"] == time
