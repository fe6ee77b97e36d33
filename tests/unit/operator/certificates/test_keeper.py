"""A keeper over years of a moved clock: nobody is ever shown a leaf that he has not been told to trust."""

import contextlib
import copy
import dataclasses
import datetime
import itertools
from collections import deque
from typing import Any

import orjson
import pytest

from kagenti import errors
from kagenti.core.certificates import Certificate, Step, leads_to, patch_of, pem_of, read
from kagenti.operator.certificates import Assignment
from kagenti.operator.certificates.issue import Pair, new_authority, new_leaf
from tests.unit.operator.certificates.cluster import (
    BEGIN,
    INJECTOR,
    NAME,
    OF_WEBHOOK,
    OF_XDS,
    VALIDATOR,
    Cluster,
    secret,
)

AUTHORITY, LEAF = OF_WEBHOOK.path(OF_WEBHOOK.authority), OF_WEBHOOK.path(OF_WEBHOOK.leaf)
DAY = datetime.timedelta(days=1)


def verifies(leaf: Any, bundle: Any, now: datetime.datetime) -> bool:
    """Whether a client that trusts the bundle takes the leaf."""
    assert isinstance(leaf, Certificate)
    return leaf.holds(now) and leads_to(leaf, roots=bundle, between=(), now=now)


async def test_a_new_installation_publishes_the_ca_before_there_is_a_leaf() -> None:
    """A webhook cannot start without its leaf's Secret: by then API servers know whom to trust."""
    cluster = Cluster()
    keeper = cluster.keeper(OF_WEBHOOK)
    await keeper.look()
    assert cluster.writes == [AUTHORITY, INJECTOR, VALIDATOR, LEAF]
    found = cluster.material(OF_WEBHOOK)
    assert found.leaf is not None
    assert found.leaf.names == {NAME}
    assert verifies(found.leaf, cluster.bundle(), cluster.now())
    assert cluster.bundle() == cluster.bundle(VALIDATOR) == found.anchors == (found.signing,)
    assert keeper.trusted == pem_of(found.anchors)


async def test_the_key_of_the_ca_is_in_the_secret_of_the_ca_alone() -> None:
    """Webhook pods mount the other one: they cannot sign."""
    cluster = Cluster()
    await cluster.keeper(OF_WEBHOOK).look()
    authority, leaf = cluster.objects[AUTHORITY]["data"], cluster.objects[LEAF]["data"]
    assert set(leaf) == {"tls.crt", "tls.key", "ca.crt"}
    assert leaf["tls.key"] != authority["tls.key"]


async def test_nothing_is_written_while_everything_is_in_order() -> None:
    """Ten looks later, and with another leader."""
    cluster = Cluster()
    await cluster.keeper(OF_WEBHOOK).look()
    done = list(cluster.writes)
    keeper = cluster.keeper(OF_WEBHOOK)
    for _ in range(10):
        cluster.pass_time(hours=1)
        await keeper.look()
    assert cluster.writes == done


class Late:
    """What somebody may still go by who hears of changes with a delay: the last value, and what was replaced lately."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.heard = seconds, deque[tuple[float, object]]()

    def hear(self, now: float, value: object) -> set[object]:
        """Returns all that he may go by now."""
        if not self.heard or self.heard[-1][1] != value:
            self.heard.append((now, value))
        while len(self.heard) > 1 and now - self.heard[1][0] > self.seconds:
            self.heard.popleft()
        return {heard for _, heard in self.heard}


async def test_two_years_of_rotations_are_never_noticed() -> None:
    """API servers that hear a minute late and kubelets that need two verify each other at every moment."""
    cluster = Cluster()
    keeper = cluster.keeper(OF_WEBHOOK)
    leaves, bundles, authorities, calm = Late(120), Late(50), set(), 0
    while cluster.now() < BEGIN + 2 * 365 * DAY:
        before = len(cluster.writes)
        await keeper.look()
        found = cluster.material(OF_WEBHOOK)
        assert found.signing is not None
        authorities.add(found.signing.fingerprint)
        served, trusted = leaves.hear(cluster.seconds, found.leaf), bundles.hear(cluster.seconds, cluster.bundle())
        for leaf, bundle in itertools.product(served, trusted):
            assert verifies(leaf, bundle, cluster.now()), cluster.now()
        calm = calm + 1 if len(cluster.writes) == before else 0
        cluster.pass_time(**({"seconds": 20} if calm < 7 else {"days": 9}))
    assert len(authorities) == 3, "a CA lives a year and is followed after eight months"
    assert keeper.steps[Step.ISSUE_LEAF] >= 2 * 365 // 69
    assert len(cluster.bundle()) == 1, "the CAs before are forgotten"


async def test_a_pod_trusts_the_xds_server_for_years() -> None:
    """Its bootstrap keeps the CAs of its birth; two and a half years are less than the overlap of two CAs."""
    cluster = Cluster()
    keeper = cluster.keeper(OF_XDS)
    born = Late(2.5 * 365 * 86400)
    while cluster.now() < BEGIN + 12 * 365 * DAY:
        await keeper.look()
        found = cluster.material(OF_XDS)
        assert found.leaf is not None
        for bundle in born.hear(cluster.seconds, read(keeper.trusted.encode())):
            assert verifies(found.leaf, bundle, cluster.now()), cluster.now()
        cluster.pass_time(days=25)
    assert keeper.steps[Step.PROMOTE_SUCCESSOR] == 1
    assert cluster.writes[0] == OF_XDS.path(OF_XDS.authority)


@pytest.mark.parametrize("writes", [0, 1, 2, 3, 4, 5, 7])
async def test_another_leader_goes_on_where_one_died(writes: int) -> None:
    """Whatever write was its last: the next one reaches the same end, and nobody is shown what he cannot verify."""
    cluster = Cluster()
    for _ in range(4):  # a new installation, two renewals of the leaf, a change of CA
        cluster.breaks_after = len(cluster.writes) + writes
        keeper = cluster.keeper(OF_WEBHOOK)
        with contextlib.suppress(errors.Unreachable):
            for _ in range(4):
                await keeper.look()
                cluster.pass_time(seconds=30)
        cluster.breaks_after, keeper = None, cluster.keeper(OF_WEBHOOK)
        for _ in range(5):
            await keeper.look()
            found = cluster.material(OF_WEBHOOK)
            assert found.faults == ()
            assert verifies(found.leaf, cluster.bundle(), cluster.now())
            cluster.pass_time(seconds=30)
        cluster.pass_time(days=85)


async def test_a_deleted_leaf_is_made_again_at_once_by_the_same_ca() -> None:
    """How a person renews it: kubectl delete secret."""
    cluster = Cluster()
    keeper = cluster.keeper(OF_WEBHOOK)
    await keeper.look()
    bundle, old = cluster.bundle(), cluster.material(OF_WEBHOOK).leaf
    del cluster.objects[LEAF]
    await keeper.look()
    assert cluster.material(OF_WEBHOOK).leaf not in (None, old)
    assert cluster.bundle() == bundle


async def test_a_deleted_ca_is_followed_with_an_overlap() -> None:
    """How a person changes it: the leaf that is served stays trusted, and a new one comes once the new CA is known."""
    cluster = Cluster()
    keeper = cluster.keeper(OF_WEBHOOK)
    await keeper.look()
    (old,), leaf = cluster.bundle(), cluster.material(OF_WEBHOOK).leaf
    del cluster.objects[AUTHORITY]
    await keeper.look()
    assert old in cluster.bundle()
    assert len(cluster.bundle()) == 2
    assert cluster.material(OF_WEBHOOK).leaf == leaf
    cluster.pass_time(seconds=59)
    await keeper.look()
    assert cluster.material(OF_WEBHOOK).leaf == leaf
    cluster.pass_time(seconds=2)
    await keeper.look()
    found = cluster.material(OF_WEBHOOK)
    assert found.leaf != leaf
    assert old in cluster.bundle(), "replicas show the old leaf until their kubelets have the new one"
    cluster.pass_time(days=1, minutes=1)
    await keeper.look()
    assert cluster.bundle() == (found.signing,)


async def test_the_xds_servers_leaf_outlives_its_ca_until_it_is_due() -> None:
    """A lost CA must not cut off the running proxies at once: there is time to roll them."""
    cluster = Cluster()
    keeper = cluster.keeper(OF_XDS)
    await keeper.look()
    leaf = cluster.material(OF_XDS).leaf
    del cluster.objects[OF_XDS.path(OF_XDS.authority)]
    for _ in range(5):
        cluster.pass_time(days=10)
        await keeper.look()
        assert cluster.material(OF_XDS).leaf == leaf
    cluster.pass_time(days=11)
    await keeper.look()
    found = cluster.material(OF_XDS)
    assert found.leaf is not None
    assert found.signing is not None
    assert found.leaf.issued_by(found.signing)


async def test_a_new_xds_ca_counts_once_webhooks_can_have_read_it() -> None:
    """Pods made until then carry the old one alone, and are not stale for it."""
    cluster = Cluster()
    keeper = cluster.keeper(OF_XDS)
    await keeper.look()
    before = keeper.trusted
    del cluster.objects[OF_XDS.path(OF_XDS.authority)]
    await keeper.look()
    await keeper.look()
    assert keeper.trusted == before
    cluster.pass_time(seconds=181)
    await keeper.look()
    assert keeper.trusted == pem_of(cluster.material(OF_XDS).anchors) != before


def made_by_others(assignment: Assignment, *, ca: bool = True) -> tuple[Cluster, Pair]:
    """A cluster with Secrets as cert-manager or a person left them."""
    cluster = Cluster()
    authority = new_authority(assignment.common_name, life=3650 * DAY, now=BEGIN - DAY)
    leaf = new_leaf(assignment.names, authority=authority, life=90 * DAY, now=BEGIN - DAY)
    path = assignment.path(assignment.leaf)
    cluster.objects[path] = secret(path, tls_crt=leaf.certificate, tls_key=leaf.key, ca_crt=authority.certificate)
    if ca:
        path = assignment.path(assignment.authority)
        cluster.objects[path] = secret(path, tls_crt=authority.certificate, tls_key=authority.key)
    return cluster, authority


async def test_what_cert_manager_made_is_taken_over_as_it_is() -> None:
    """A change of certificates.mode breaks no running proxy's trust."""
    cluster, authority = made_by_others(OF_XDS)
    keeper = cluster.keeper(OF_XDS)
    await keeper.look()
    assert cluster.writes == []
    assert keeper.trusted.encode() == authority.certificate


async def test_a_pair_of_somebodys_own_ca_serves_on_through_the_overlap() -> None:
    """From mode provided: that CA's key is not ours, so a new one is made and published beside it."""
    cluster, authority = made_by_others(OF_WEBHOOK, ca=False)
    before = cluster.material(OF_WEBHOOK).leaf
    await cluster.keeper(OF_WEBHOOK).look()
    assert cluster.material(OF_WEBHOOK).leaf == before
    assert set(read(authority.certificate)) < set(cluster.bundle())


@pytest.mark.parametrize(
    ("path", "key", "content", "reason"),
    [
        (AUTHORITY, "tls.crt", b"nonsense", "a certificate that is none"),
        (AUTHORITY, "tls.key", b"", "a CA without its key"),
        (LEAF, "tls.crt", b"nonsense", "a leaf that is none"),
        (LEAF, "tls.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "a key that is none"),
        (LEAF, "ca.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a bundle that is none"),
    ],
)
async def test_a_spoilt_secret_is_mended(path: str, key: str, content: bytes, reason: str) -> None:
    """What cannot be used is made anew; what clients trusted stays trusted."""
    cluster = Cluster()
    keeper = cluster.keeper(OF_WEBHOOK)
    await keeper.look()
    old = cluster.bundle()
    cluster.objects[path] = {
        **cluster.objects[path],
        "data": {**cluster.objects[path]["data"], **secret(path, **{key.replace(".", "_"): content})["data"]},
    }
    for _ in range(3):
        await keeper.look()
        cluster.pass_time(seconds=61)
    found = cluster.material(OF_WEBHOOK)
    assert found.faults == (), reason
    assert found.leaf is not None
    assert verifies(found.leaf, cluster.bundle(), cluster.now())
    assert set(old) <= set(cluster.bundle())


async def test_another_name_asks_for_another_leaf_at_once() -> None:
    """The cluster's domain was corrected: the leaf that there is serves nobody."""
    cluster = Cluster()
    await cluster.keeper(OF_WEBHOOK).look()
    renamed = dataclasses.replace(OF_WEBHOOK, names=frozenset({NAME, f"{NAME}.example.org"}))
    await cluster.keeper(renamed).look()
    leaf = cluster.material(OF_WEBHOOK).leaf
    assert leaf is not None
    assert leaf.names == renamed.names


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [
        (None, "a tool that replaces the object takes the caBundle with it"),
        ("Cg==", "the placeholder of many charts"),
        ("no base64", "nothing that the API server would have taken"),
        (
            "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=",
            "a certificate that is none",
        ),
    ],
)
async def test_a_ca_bundle_that_is_no_use_is_written_again(bundle: str | None, reason: str) -> None:
    """In all entries, if one is spoilt."""
    cluster = Cluster()
    keeper = cluster.keeper(OF_WEBHOOK)
    await keeper.look()
    before = cluster.bundle()
    cluster.objects[INJECTOR]["webhooks"][1]["clientConfig"]["caBundle"] = bundle
    await keeper.look()
    assert cluster.bundle() == before, reason
    assert cluster.writes[-1] == INJECTOR


async def test_a_configuration_that_is_gone_is_not_made_again() -> None:
    """Helm uninstall has deleted it; the leaf is looked after without it."""
    cluster = Cluster()
    keeper = cluster.keeper(OF_WEBHOOK)
    await keeper.look()
    del cluster.objects[INJECTOR], cluster.objects[VALIDATOR]
    del cluster.objects[LEAF]
    await keeper.look()
    assert INJECTOR not in cluster.objects
    assert LEAF in cluster.objects


@pytest.mark.parametrize("change", ["another object", "other entries", "none"])
async def test_what_was_read_is_what_is_written(change: str) -> None:
    """A configuration that changed between read and write keeps what it has; the next look reads it anew."""
    cluster = Cluster()
    await cluster.keeper(OF_WEBHOOK).look()
    read_before = copy.deepcopy(cluster.objects[INJECTOR])
    patch = patch_of(read_before, read(new_authority("another", life=DAY, now=BEGIN).certificate))
    if change == "another object":
        cluster.objects[INJECTOR]["metadata"]["uid"] = "uid of another"
    if change == "other entries":
        cluster.objects[INJECTOR]["webhooks"].reverse()
    if change == "none":
        del cluster.objects[INJECTOR]
    after = copy.deepcopy(cluster.objects.get(INJECTOR))
    with pytest.raises(errors.ClusterError):
        await cluster.request(
            "PATCH", INJECTOR, params={}, body=orjson.dumps(patch), content_type="application/json-patch+json"
        )
    assert cluster.objects.get(INJECTOR) == after


def test_a_patch_touches_nothing_but_our_part() -> None:
    """Of the entries that need it."""
    found = Cluster().objects[INJECTOR]
    bundle = read(new_authority("one", life=DAY, now=BEGIN).certificate)
    patch = patch_of(found, bundle)
    assert patch is not None
    assert [operation["path"] for operation in patch if operation["op"] != "test"] == [
        "/webhooks/0/clientConfig/caBundle",
        "/webhooks/1/clientConfig/caBundle",
    ]
