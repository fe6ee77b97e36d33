"""What a running pod's proxy is to have, and when it keeps what it has."""

import json
from typing import Any

import pytest

from kagenti.core import delivery, receipts
from kagenti.core.delivery import Context, Kept, Served
from kagenti.core.installation import Installation
from kagenti.core.layers import Sources
from kagenti.core.settings import Layer, Resolver, resolve
from kagenti.core.settings.model import Finding
from kagenti.core.workload import WorkloadRef
from tests.unit.core.settings import given

JSON = Any  # values by path

OWNER = WorkloadRef("apps", "Deployment", "team1", "weather")


def _pod(*layers: Layer, layout: int = 1, account: str = "weather") -> delivery.Pod:
    above = [layer for layer in layers if layer.source.layer == "cluster"]
    below = [layer for layer in layers if layer.source.layer == "namespace"]
    built_from = resolve(above[0] if above else None, below[0] if below else None, None)
    content = {"layout": layout, "settings": json.loads(built_from.restart_json), "portMapping": {"8080": 8081}}
    return delivery.Pod(OWNER, account, receipts.parse(json.dumps(content)))


def _decide(pod: delivery.Pod, **sources: Any) -> Served | Kept:
    return delivery.decide(
        pod,
        sources=Sources(**sources),
        context=Context(Installation(), Resolver()),
        namespace_labels={},
        namespaces=("team1",),
    )


def _served(pod: delivery.Pod, **sources: Any) -> Served:
    found = _decide(pod, **sources)
    assert isinstance(found, Served), found
    return found


def _kept(pod: delivery.Pod, **sources: Any) -> Kept:
    found = _decide(pod, **sources)
    assert isinstance(found, Kept), found
    return found


def test_settings_of_the_pod_and_of_today() -> None:
    """Restart part from the receipt, live part from the layers, ports from the receipt, values from the owner."""
    pod = _pod(given.cluster({given.REALM: "then"}))
    served = _served(pod, cluster=given.cluster({given.REALM: "now", given.AUDIENCE: "aud"}))
    assert served.proxy.settings[given.ISSUER].endswith("/realms/then")
    assert (served.proxy.values.audience, served.proxy.port_mapping) == ("aud", {8080: 8081})
    assert served.jwks_url.endswith("/realms/then/protocol/openid-connect/certs")


def test_keys_come_last() -> None:
    """Without keys the proxy has none; where callers need no token nobody is asked for any."""
    served = _served(_pod())
    assert (served.with_keys(None).keys, served.with_keys("{}").keys) == (None, "{}")
    off = _pod(given.cluster({"identity.inbound.enabled": False}))
    assert (_served(off).jwks_url, _served(off).with_keys("{}").keys) == ("", None)


def test_unreadable_layers_change_nothing() -> None:
    """The finding names the object, and nothing is resolved without it."""
    finding = Finding("ConfigInvalid", "AgentRuntimeConfig team1/default: spec is 7; correct it")
    assert _kept(_pod(), unreadable=(finding,)) == Kept("ConfigInvalid", finding.message)


def test_an_inconsistent_result_changes_nothing() -> None:
    """A contradiction between layers: reason and revision are said, the proxy runs on."""
    kept = _kept(
        _pod(), cluster=given.cluster({given.POLICY: "Exchange", f"{given.OUTBOUND}.tokenExchange.enabled": False})
    )
    assert (kept.reason, bool(kept.revision)) == ("ConfigInvalid", True)


@pytest.mark.parametrize(("layout", "said"), [(0, "create the pod anew"), (99, "upgrade kagenti-xds")])
def test_other_layouts_are_left_alone(layout: int, said: str) -> None:
    """What this version cannot build for it is not sent to it."""
    kept = _kept(_pod(layout=layout))
    assert kept.reason == "LayoutUnsupported"
    assert said in kept.message


def test_unlisted_providers_of_a_receipt_are_not_used() -> None:
    """Spec 05: URLs from a receipt pass policy.identityProviders again."""
    old = _pod(given.cluster({given.URL: "https://old.example"}))
    cluster = given.cluster({given.URL: "https://new.example"}, identityProviders=["https://new.example"])
    kept = _kept(old, cluster=cluster)
    assert (kept.reason, "https://old.example" in kept.message) == ("ProviderNotAllowed", True)


def test_equal_inputs_give_equal_proxies() -> None:
    """The revision is that of today's live settings."""
    cluster = given.cluster({given.AUDIENCE: "aud"})
    one, other = _served(_pod(), cluster=cluster), _served(_pod(), cluster=cluster)
    assert one == other
    assert one.revision == resolve(cluster, None, None).live_revision[:12]


def test_an_exempt_account_is_bound_by_no_mandatory_lock() -> None:
    """As at admission (spec 03): a contradiction that only such a lock would make is none for an exempt pod."""
    rule = {"names": ["team1"], "injection": "Mandatory", "exempt": [{"serviceAccount": "batch"}]}
    cluster = given.cluster({given.AUDIENCE: "aud"}, namespaces=[rule])
    below = given.namespace({"identity.inbound.enabled": False})
    for account in ("weather", "batch"):
        assert _served(_pod(account=account), cluster=cluster, namespace=below).proxy.values.audience == "aud"
