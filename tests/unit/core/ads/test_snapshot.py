"""Snapshots: equal content is equal everywhere, and nothing dangles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti import errors
from kagenti.core import ads
from kagenti.core.ads import CLUSTER, EXTENSION, ROUTE
from tests.unit.core.ads.envoy_model import cluster, extension, route

WHOLE = (cluster("app"), cluster("idp"), extension("jwt", "1", "idp"), route("inbound", "1", "app"))


@given(st.permutations(WHOLE))
def test_order_of_building_changes_nothing(resources: list[ads.Encoded]) -> None:
    """Replicas build in their own order and agree without talking."""
    assert ads.Snapshot.of(resources) == ads.Snapshot.of(WHOLE)
    assert list(ads.Snapshot.of(resources).resources[CLUSTER]) == ["app", "idp"]


def test_a_change_moves_the_version_of_its_type_only() -> None:
    before, after = ads.Snapshot.of(WHOLE), ads.Snapshot.of([*WHOLE[:-1], route("inbound", "2", "app")])
    moved = {type_url for type_url in ads.TYPES if before.versions[type_url] != after.versions[type_url]}
    assert moved == {ROUTE}
    assert before.revision != after.revision


def test_withholding_is_part_of_the_revision() -> None:
    resources = [cluster("app"), route("inbound", "1", "app")]
    assert ads.Snapshot.of(resources, withheld=[(EXTENSION, "jwt")]).revision != ads.Snapshot.of(resources).revision


def test_parts_do_not_run_into_each_other() -> None:
    assert ads.fingerprint(["ab", "c"]) != ads.fingerprint(["a", "bc"])


@pytest.mark.parametrize(
    ("resources", "withheld", "message"),
    [
        (
            [route("inbound", "1", "app")],
            [],
            '"inbound" (RouteConfiguration) names Cluster "app", which nobody gives; '
            "build that resource too or name another",
        ),
        ([cluster("a"), cluster("a", "2")], [], f'two resources of type "{CLUSTER}" are named "a"; name one anew'),
        (
            [cluster("a")],
            [(CLUSTER, "a")],
            f"resources of type \"{CLUSTER}\" are given although withheld or static: ['a']",
        ),
        (
            [ads.Encoded.of("type.googleapis.com/x.Listener", "l", b"")],
            [],
            'cannot serve resource "l" of type "type.googleapis.com/x.Listener": not one of TYPES',
        ),
    ],
)
def test_what_envoy_would_acknowledge_and_not_serve_is_refused(
    resources: list[ads.Encoded], withheld: list[ads.Reference], message: str
) -> None:
    with pytest.raises(errors.Defect) as caught:
        ads.Snapshot.of(resources, withheld=withheld)
    assert str(caught.value) == message


def test_withheld_and_static_resources_may_be_named() -> None:
    resources = [route("inbound", "1", "xds", extensions=["jwt"])]
    snapshot = ads.Snapshot.of(resources, withheld=[(EXTENSION, "jwt")], static=[(CLUSTER, "xds")])
    assert snapshot.get(ROUTE, "inbound") == resources[0]
    assert snapshot.get(EXTENSION, "jwt") is None
