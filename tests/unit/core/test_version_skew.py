"""One minor release apart: what an older or a newer version wrote is read without harm, by each of the processes.

No second release exists yet, so that the other version is played: its objects have fields, its receipts settings and
containers, its CRDs properties that this version does not know; or lack some that this version has.
"""

import copy
import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from kagenti.core import delivery, envoy, propagation, receipts
from kagenti.core.admission.respond import Answer
from kagenti.core.layers import LayerCache
from kagenti.core.reconcile.judge import Judged
from tests.unit.core.admission import cluster as base
from tests.unit.core.inject.admitting import LABEL, admitted
from tests.unit.core.reconcile.given import ENABLED, RECEIPT, Pod, World

JSON = Any  # a raw pod, a receipt, a manifest

NEXT, OLD = "9.9.0", "0.0.9"
UNKNOWN = "identity.future.mode"
FAR = envoy.LAYOUT + 1


def written(raw: JSON, *, drop: tuple[str, ...] = (), settings: JSON = None, **changes: JSON) -> JSON:
    """A pod whose receipt another version wrote: other parts, more settings, or fewer."""
    changed = copy.deepcopy(raw)
    annotations = changed["metadata"]["annotations"]
    content = {**orjson.loads(annotations[RECEIPT]), **changes}
    content["settings"] = {path: value for path, value in content["settings"].items() if path not in drop}
    content["settings"] |= settings or {}
    annotations[RECEIPT] = orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()
    return changed


def judged(world: World, raw: JSON) -> Judged:
    """What the operator makes of the one pod of a workload."""
    return world.plan(Pod(raw)).judged["uid-1"]


class TestOperator:
    """An operator beside webhooks of another version: with rollout it would replace the same pods for ever."""

    def test_a_setting_that_only_a_newer_version_has_makes_no_pod_stale(self) -> None:
        """An older one cannot say what its value ought to be."""
        world = World()
        found = judged(world, written(world.injected(), version=NEXT, settings={UNKNOWN: True}))
        assert (found.state, found.fields) == ("current", ())

    def test_a_setting_that_an_older_version_did_not_have_makes_no_pod_stale_by_its_default(self) -> None:
        """Otherwise an upgrade alone would call the whole fleet stale."""
        world = World()
        raw = written(world.injected(), version=OLD, drop=("injection.tokenExchange",))
        assert judged(world, raw).state == "current"

    def test_a_later_look_at_the_same_pod_says_the_same(self) -> None:
        """It goes by the restart settings alone, since the pod has been found sound."""
        world = World()
        raw = written(world.injected(), version=OLD, drop=("injection.tokenExchange",))
        assert judged(world, raw).state == "current"
        world.namespace = base.stored("team1", identity={"inbound": {"validation": {"audience": "another"}}})
        assert judged(world, raw).state == "current"

    def test_one_that_a_layer_sets_does(self) -> None:
        """Somebody asked for it, and the pod was built without."""
        world = World()
        raw = written(world.injected(), version=OLD, drop=("identity.clientRegistration.keycloak.realm",))
        world.namespace = base.stored("team1", identity={"clientRegistration": {"keycloak": {"realm": "other"}}})
        assert "identity.clientRegistration.keycloak.realm" in judged(world, raw).fields

    def test_the_same_version_is_held_to_every_setting(self) -> None:
        """A receipt of this version that lacks one was edited."""
        world = World()
        raw = written(world.injected(), drop=("injection.tokenExchange",))
        assert judged(world, raw).state != "current"

    def test_a_newer_layout_is_left_alone(self) -> None:
        """Not stale and not tampered with: a replacement by the same webhook would be the same again."""
        world = World()
        raw = written(world.injected(), version=NEXT, layout=FAR, containers=[*base.OURS, "authbridge"])
        raw["spec"]["initContainers"].insert(4, {"name": "authbridge", "image": "kagenti/authbridge:9"})
        found = judged(world, raw)
        assert (found.state, found.fields) == ("current", ())


class TestWebhook:
    """Two replicas of different versions answer for one pod: the second call is a reinvocation."""

    def injected(self) -> JSON:
        """A pod as this version leaves it."""
        answer, after = admitted(base.pod(labels=ENABLED), LABEL)
        assert answer.reason == "Label"
        return after

    def again(self, raw: JSON) -> tuple[Answer, JSON]:
        """The answer of our version, called after another one."""
        return admitted(raw, LABEL, later=1)

    def test_more_settings_and_parts_in_a_receipt_converge(self) -> None:
        """Our own receipt takes the place of theirs, and nothing else of the pod changes."""
        theirs = written(self.injected(), version=NEXT, settings={UNKNOWN: True}, future={"a": 1})
        answer, after = self.again(theirs)
        assert answer.allowed
        assert after == {**self.injected(), "metadata": after["metadata"]}
        assert self.again(after)[0].patch == ()

    def test_a_newer_layout_waits_for_a_webhook_that_knows_it(self) -> None:
        """Containers that this version does not know cannot be told from the user's: refused, and tried again."""
        theirs = written(self.injected(), version=NEXT, layout=FAR, containers=[*base.OURS, "authbridge"])
        answer, _ = self.again(theirs)
        assert (answer.allowed, answer.reason, tuple(answer.patch)) == (False, "LayoutUnsupported", ())
        for word in (f"layout {FAR}", NEXT, "kagenti.io/injected"):
            assert word in answer.message

    @pytest.mark.parametrize("layout", [True, "2", 2.5, None, -1, 0])
    def test_a_layout_that_is_no_newer_number_is_set_again(self, layout: JSON) -> None:
        """An older number, or somebody's nonsense: the pod comes out as this version builds it."""
        _, after = self.again(written(self.injected(), layout=layout))
        assert orjson.loads(after["metadata"]["annotations"][RECEIPT])["layout"] == envoy.LAYOUT


class TestXds:
    """The server beside webhooks of another version."""

    def receipt(self, **changes: JSON) -> receipts.Receipt:
        """A receipt as another version wrote it."""
        raw = written(World().injected(), **changes)
        return receipts.parse(raw["metadata"]["annotations"][RECEIPT])

    def decided(self, receipt: receipts.Receipt) -> delivery.Served | delivery.Kept:
        """What that pod's proxy is to have."""
        world = World()
        context = delivery.Context(world.context.installation, world.context.resolver)
        pod = delivery.Pod(base.DEPLOYMENT, "default", receipt)
        sources = world.layers.gather(cluster=None, namespace=None, runtimes=(world.runtime,))
        return delivery.decide(pod, sources=sources, context=context, namespace_labels={}, namespaces=())

    @pytest.mark.parametrize(
        "changes",
        [
            {"version": NEXT, "settings": {UNKNOWN: True}, "future": [1]},
            {"version": OLD, "drop": ("injection.tokenExchange", "identity.spiffe.trustDomain")},
        ],
        ids=["newer", "older"],
    )
    def test_a_proxy_of_another_version_is_served(self, changes: JSON) -> None:
        """What this version does not know is left out, what the other did not know is built in."""
        assert isinstance(self.decided(self.receipt(**changes)), delivery.Served)

    @pytest.mark.parametrize(("layout", "word"), [(FAR, "upgrade kagenti-xds"), (0, "create the pod anew")])
    def test_a_layout_outside_the_window_keeps_what_it_has(self, layout: int, word: str) -> None:
        """Newer: until this server is upgraded; too old: until the pod is replaced. The proxy runs on either way."""
        found = self.decided(self.receipt(layout=layout))
        assert isinstance(found, delivery.Kept)
        assert found.reason == "LayoutUnsupported"
        assert word in found.message


class TestObjects:
    """Objects that a newer CRD admitted, read by a version that does not know all of it."""

    @pytest.mark.parametrize(
        "spec",
        [
            {"future": {"a": 1}},
            {"identity": {"future": True, "clientRegistration": {"keycloak": {"realm": "kept", "future": "x"}}}},
            {"trace": {"future": [{"a": 1}]}},
        ],
    )
    def test_an_unknown_field_is_as_if_it_were_not_there(self, spec: JSON) -> None:
        """An upgrade begins with the CRDs; nobody's pod may be denied for it."""
        assert _read(spec).fault is None

    @pytest.mark.parametrize(
        ("spec", "path"),
        [
            ({"injection": {"tokenExchange": "Future"}}, "injection.tokenExchange"),
            ({"identity": {"inbound": {"validation": {"policy": "Future"}}}}, ""),
        ],
    )
    def test_an_unknown_word_in_a_known_field_is_not_guessed(self, spec: JSON, path: str) -> None:
        """A choice that cannot be carried out fails closed: the last valid version, or a denial that names the field."""
        found = _read(spec)
        if path:
            assert found.fault is not None
            assert path in found.fault.message

    def test_the_last_valid_version_stays_in_force(self) -> None:
        """A replica that has read the object before keeps what it understood."""
        cache = LayerCache()
        known = base.stored("team1", injection={"tokenExchange": "Envoy"})
        cache.read("namespace", known)
        later = replace(base.stored("team1", injection={"tokenExchange": "Future"}), resource_version="2")
        found = cache.read("namespace", later)
        assert found.layer is not None
        assert found.fault is not None


def _read(spec: JSON) -> Any:
    return LayerCache().read("namespace", base.stored("team1", **spec))


class TestStatus:
    """``status.propagation`` of replicas of several versions."""

    def test_entries_with_more_fields_count(self) -> None:
        """A newer replica says more; what it counts is counted."""
        newer = {**propagation.entry("xds-1", propagation.Counts(acked=2), revision="r"), "future": {"held": 1}}
        older = {"replica": "xds-0", "acked": 1, "revision": "r"}
        assert propagation.conclude([newer, older], proxies=3, revision="r").status == "True"

    def test_no_entry_is_read_for_more_than_it_says(self) -> None:
        """Counts of another type are none."""
        odd = json.loads('{"replica": "x", "acked": {"agents": 3}, "revision": "r"}')
        assert propagation.conclude([odd], proxies=3, revision="r").status == "False"
