"""One stream: what is sent, in which order, and what is not."""

import pytest

from kagenti.core import ads
from kagenti.core.ads import CLUSTER, EXTENSION, ROUTE
from tests.unit.core.ads.envoy_model import Link, cluster, extension, first_request, names, route

KINDS = pytest.mark.parametrize("kind", ["delta", "sotw"])
FIRST = ads.Snapshot.of(
    [
        cluster("app"),
        cluster("old"),
        extension("jwt"),
        extension("rbac"),
        route("inbound", "1", "app", extensions=["jwt"]),
        route("outbound", "1", "old"),
    ]
)
SECOND = ads.Snapshot.of(
    [
        cluster("app"),
        cluster("new"),
        extension("jwt", "2"),
        extension("rbac"),
        route("inbound", "2", "app", extensions=["jwt"]),
        route("outbound", "2", "new"),
    ]
)


def edited(
    *changes: ads.Encoded, without: tuple[str, ...] = (), withheld: tuple[ads.Reference, ...] = ()
) -> ads.Snapshot:
    """FIRST with some resources replaced or left out."""
    resources = {(r.type_url, r.name): r for found in FIRST.resources.values() for r in found.values()}
    resources.update({(change.type_url, change.name): change for change in changes})
    return ads.Snapshot.of((r for r in resources.values() if r.name not in without), withheld=withheld)


@KINDS
def test_a_new_envoy_gets_what_is_named_before_what_names_it(kind: ads.Kind) -> None:
    link = Link(kind, FIRST)
    assert names(link.replies) == ["+app,old", "+jwt", "+rbac", "+inbound", "+outbound"]
    assert link.stream.state().verdict == "propagated"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("delta", ["+new", "+jwt", "+inbound", "+outbound", "-old"]),
        ("sotw", ["+app,new,old", "+jwt", "+inbound", "+outbound", "+app,new"]),
    ],
)
def test_a_push_adds_first_and_removes_last(kind: ads.Kind, expected: list[str]) -> None:
    link = Link(kind, FIRST)
    assert names(link.push(SECOND)) == expected
    assert link.stream.state() == ads.StreamState(SECOND.revision, "propagated", link.stream.state().types)


@KINDS
def test_clusters_are_answered_even_when_there_are_none(kind: ads.Kind) -> None:
    """Envoy stays unready until its first CDS request is answered."""
    link = Link(kind, ads.Snapshot.of([]))
    assert names(link.replies) == ["+"]
    assert link.stream.state().verdict == "propagated"


@KINDS
def test_nothing_is_answered_before_the_first_snapshot(kind: ads.Kind) -> None:
    link = Link(kind)
    assert link.replies == []
    assert link.stream.state() == ads.StreamState("", "pending")
    assert names(link.push(FIRST)) == ["+app,old", "+jwt", "+rbac", "+inbound", "+outbound"]


@KINDS
def test_a_reconnect_resends_nothing_whichever_replica_answers(kind: ads.Kind) -> None:
    link = Link(kind, FIRST)
    assert link.connect(FIRST) == []
    assert link.stream.state().verdict == "propagated"


def test_a_delta_reconnect_gets_only_what_changed_meanwhile_and_keeps_old_clusters_to_the_end() -> None:
    link = Link("delta", FIRST)
    assert names(link.connect(SECOND)) == ["+new", "+jwt", "+inbound", "+outbound", "-old"]


def test_a_sotw_reconnect_with_another_version_gets_every_type_that_differs() -> None:
    link = Link("sotw", FIRST)
    assert names(link.connect(edited(extension("jwt", "2")))) == ["+jwt", "+rbac"]


@KINDS
def test_equal_pushes_are_equal_bytes_on_every_stream(kind: ads.Kind) -> None:
    """Nonces are content hashes: no counter, no stream, no replica shows in a reply."""
    one, other = Link(kind, FIRST), Link(kind, FIRST)
    assert one.replies == other.replies
    other.push(edited(extension("rbac", "2")))
    other.push(FIRST)
    assert one.push(SECOND) == other.push(SECOND)


def test_content_that_returns_while_its_answer_is_out_has_another_nonce() -> None:
    """A, B, A: the answer to the first A must not count for the second."""
    stream = ads.Stream("delta")
    stream.on_request(first_request("delta", CLUSTER))
    nonces = [stream.on_snapshot(ads.Snapshot.of([cluster("app", text)]))[0].nonce for text in ("a", "b", "a")]
    assert len(set(nonces)) == 3
    stream.on_request(ads.DeltaRequest(CLUSTER, nonce=nonces[0]))
    assert stream.state().verdict == "pending"
    stream.on_request(ads.DeltaRequest(CLUSTER, nonce=nonces[2]))
    assert stream.state().verdict == "propagated"


@KINDS
def test_routes_wait_for_the_answer_about_extensions_and_not_for_that_about_clusters(kind: ads.Kind) -> None:
    """Envoy keeps the CDS answer back while DNS is silent (facts §11); policy must not wait for a name server."""
    stream = ads.Stream(kind)
    stream.on_snapshot(FIRST)
    assert names(stream.on_request(first_request(kind, CLUSTER))) == ["+app,old"]
    (jwt,) = stream.on_request(first_request(kind, EXTENSION, ("jwt",)))
    assert stream.on_request(first_request(kind, ROUTE, ("inbound",))) == []
    answer: ads.Request = ads.DeltaRequest(EXTENSION, nonce=jwt.nonce)
    if kind == "sotw":
        answer = ads.SotwRequest(EXTENSION, nonce=jwt.nonce, names=("jwt",))
    assert names(stream.on_request(answer)) == ["+inbound"]


@KINDS
def test_a_refused_resource_is_not_sent_again_until_its_content_changes(kind: ads.Kind) -> None:
    link = Link(kind, FIRST)
    bad = edited(route("outbound", "bad", "old"))
    assert names(link.push(bad)) == ["+outbound"]
    (rejection,) = link.stream.state().rejected
    assert rejection == (ROUTE, ads.Rejection("outbound", bad.resources[ROUTE]["outbound"].version, "outbound is bad"))
    assert link.push(bad) == []
    assert names(link.push(edited(route("outbound", "bad", "old"), route("inbound", "3")))) == ["+inbound"]
    assert link.stream.state().verdict == "rejected"
    assert names(link.push(edited(route("outbound", "mended", "old")))) == ["+inbound", "+outbound"]
    assert link.stream.state().verdict == "propagated"


@KINDS
def test_going_back_to_what_envoy_still_has_needs_no_push(kind: ads.Kind) -> None:
    link = Link(kind, FIRST)
    link.push(edited(extension("jwt", "bad")))
    assert link.envoy.held[EXTENSION]["jwt"] == FIRST.resources[EXTENSION]["jwt"]
    assert link.push(FIRST) == []
    assert link.stream.state().verdict == "propagated"


@KINDS
def test_routes_that_name_a_refused_extension_are_kept_back(kind: ads.Kind) -> None:
    """NACK keeps the last good policy whole: not new routes over old keys."""
    link = Link(kind, FIRST)
    push = link.push(edited(extension("jwt", "bad"), route("inbound", "2", "app", extensions=["jwt"])))
    assert names(push) == ["+jwt"]
    assert [state.pending for state in link.stream.state().types] == [(), (), ("inbound",)]
    assert link.stream.state().verdict == "rejected"


@KINDS
def test_nothing_is_removed_while_a_refused_route_leaves_the_old_one_in_force(kind: ads.Kind) -> None:
    link = Link(kind, FIRST)
    link.push(edited(cluster("new"), route("outbound", "bad", "new"), without=("old",)))
    assert "old" in link.envoy.held[CLUSTER]
    link.push(edited(cluster("new"), route("outbound", "good", "new"), without=("old",)))
    assert "old" not in link.envoy.held[CLUSTER]


def test_a_batch_of_clusters_that_was_refused_is_sent_again_one_by_one() -> None:
    """One bad cluster must not keep the good ones away, and its name is to be known."""
    link = Link("delta", FIRST)
    push = link.push(edited(cluster("x"), cluster("y", "bad"), cluster("z")))
    assert names(push) == ["+x,y,z", "+x", "+y", "+z"]
    assert [(type_url, rejection.name) for type_url, rejection in link.stream.state().rejected] == [(CLUSTER, "y")]
    assert set(link.envoy.held[CLUSTER]) == {"app", "old", "x", "z"}


def test_a_route_refused_for_its_refused_cluster_is_sent_again_once_that_is_mended() -> None:
    """Facts §11: Envoy does not try again by itself. Both were on the way when the cluster was refused."""
    link = Link("delta", FIRST)
    push = link.push(edited(cluster("new", "bad"), route("outbound", "2", "new")))
    assert names(push) == ["+new", "+outbound"]
    assert [rejection.message for _, rejection in link.stream.state().rejected] == [
        "new is bad",
        "route: unknown cluster 'new'",
    ]
    assert names(link.push(edited(cluster("new"), route("outbound", "2", "new"), without=("old",)))) == [
        "+new",
        "+outbound",
        "-old",
    ]
    assert link.stream.state().verdict == "propagated"


def test_a_first_cluster_that_is_refused_keeps_its_routes_back_and_envoy_unready() -> None:
    """First is not good (facts §11): an Envoy that got a refused first RDS would say that it is ready."""
    link = Link("delta", edited(cluster("app", "bad")))
    assert names(link.replies) == ["+app,old", "+app", "+old", "+jwt", "+rbac", "+outbound"]
    assert names(link.push(FIRST)) == ["+app", "+inbound"]


@KINDS
def test_a_withheld_resource_is_neither_sent_nor_removed(kind: ads.Kind) -> None:
    """A replica without keys: a new Envoy waits, one that has them keeps them, and is not called up to date."""
    withheld = edited(without=("jwt",), withheld=((EXTENSION, "jwt"),))
    new = Link(kind, withheld)
    assert names(new.replies) == ["+app,old", "+rbac", "+inbound", "+outbound"]
    assert [state.withheld for state in new.stream.state().types] == [(), ("jwt",), ()]
    old = Link(kind, FIRST)
    assert old.push(withheld) == []
    assert old.envoy.held[EXTENSION].keys() == {"jwt", "rbac"}
    assert old.stream.state().verdict == "pending"
    assert old.push(FIRST) == []
    assert old.stream.state().verdict == "propagated"


def test_a_named_resource_that_exists_no_more_is_removed_from_a_delta_client() -> None:
    link = Link("delta", FIRST)
    assert names(link.push(edited(route("inbound", "2", "app"), without=("jwt",)))) == ["+inbound", "-jwt"]


def test_a_name_that_does_not_exist_is_not_answered() -> None:
    stream = ads.Stream("delta")
    stream.on_snapshot(FIRST)
    stream.on_request(first_request("delta", CLUSTER))
    assert stream.on_request(first_request("delta", EXTENSION, ("nope",))) == []


def test_a_name_let_go_of_is_not_sent_and_one_asked_for_again_is() -> None:
    """XDS protocol: a client may have forgotten what it asks for again."""
    link = Link("delta", FIRST)
    assert link.stream.on_request(ads.DeltaRequest(EXTENSION, unsubscribe=("rbac",))) == []
    assert link.push(edited(extension("rbac", "2"))) == []
    assert names(link.stream.on_request(ads.DeltaRequest(EXTENSION, subscribe=("rbac", "jwt")))) == ["+jwt", "+rbac"]


def test_a_sotw_client_that_names_less_gets_less() -> None:
    link = Link("sotw", FIRST)
    latest = link.replies[2].nonce
    assert link.stream.on_request(ads.SotwRequest(EXTENSION, nonce=latest, names=("jwt",))) == []
    assert names(link.push(edited(extension("rbac", "2")))) == []
    request = ads.SotwRequest(EXTENSION, nonce=latest, names=("jwt", "rbac"))
    assert names(link.stream.on_request(request)) == ["+rbac"]


@KINDS
def test_clusters_can_be_asked_for_by_name(kind: ads.Kind) -> None:
    stream = ads.Stream(kind)
    stream.on_snapshot(FIRST)
    assert names(stream.on_request(first_request(kind, CLUSTER, ("old",)))) == ["+old"]


def test_wildcard_can_be_asked_for_and_let_go_of_by_its_name() -> None:
    stream = ads.Stream("delta")
    stream.on_snapshot(FIRST)
    assert names(stream.on_request(first_request("delta", CLUSTER, ("*", "app")))) == ["+app,old"]
    stream.on_request(ads.DeltaRequest(CLUSTER, unsubscribe=("*",)))
    assert names(stream.on_snapshot(edited(cluster("app", "2"), cluster("old", "2")))) == ["+app"]


@KINDS
def test_types_that_are_not_served_are_never_answered(kind: ads.Kind) -> None:
    stream = ads.Stream(kind)
    stream.on_snapshot(FIRST)
    assert stream.on_request(first_request(kind, "type.googleapis.com/envoy.config.listener.v3.Listener")) == []


@pytest.mark.parametrize(
    "request_",
    [
        ads.DeltaRequest(EXTENSION, subscribe=tuple(map(str, range(10_001)))),
        ads.DeltaRequest(CLUSTER, initial={str(number): "" for number in range(10_001)}),
        ads.SotwRequest(EXTENSION, names=tuple(map(str, range(10_001)))),
    ],
)
def test_a_client_that_wants_no_end_of_names_is_stopped(request_: ads.Request) -> None:
    stream = ads.Stream("delta" if isinstance(request_, ads.DeltaRequest) else "sotw")
    with pytest.raises(ads.Violation) as caught:
        stream.on_request(request_)
    assert str(caught.value) == f"10001 names of {request_.type_url} on one stream, at most 10000 are served"


def test_an_envoy_that_has_not_asked_for_everything_is_pending() -> None:
    stream = ads.Stream("delta")
    stream.on_snapshot(FIRST)
    stream.on_request(first_request("delta", CLUSTER))
    unasked = ads.TypeState(ROUTE, FIRST.versions[ROUTE], subscribed=False, pending=("inbound", "outbound"))
    assert stream.state().types[2] == unasked
    assert stream.state().verdict == "pending"
