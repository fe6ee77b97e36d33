"""How far a change has got, in status: accepted, refused by an Envoy, kept back by us, and mended again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import ask, call_out
from tests.e2e.xds.servers import echoing
from tests.e2e.xds.settings import OURS, apply_runtime, awaited, outbound, rule
from tests.e2e.xds.streams import contents, node_id, stream, token_of
from tests.e2e.xds.test_inbound import audience
from tests.e2e.xds_process import Xds
from tests.oidc import Oidc

JSON = Any  # status and settings
TOOL = "tool.tools.svc"


def inbound(audience_: str) -> JSON:
    """Returns the change of a config: who callers' tokens must be for."""
    return {"spec": {"identity": {"inbound": {"validation": {"audience": audience_}}}}}


def other_pod(api: ApiClient, namespace: str, pod: PodRunner) -> JSON:
    """Returns the running pod of the Deployment that is not this one."""
    found: list[JSON] = []

    def two() -> bool:
        pods = api.items("Pod", namespace, labelSelector="app=weather")
        running = [one for one in pods if one.get("status", {}).get("phase") == "Running"]
        found[:] = [one for one in running if one["metadata"]["uid"] != pod.pod["metadata"]["uid"]]
        return bool(found)

    wait_until(two, 60, lambda: "no second pod")
    return found[0]


async def test_a_refusal_is_one_readable_line(
    run_pod: Callable[..., PodRunner],
    xds: Xds,
    api: ApiClient,
    cluster: ControlPlane,
    cluster_config: Callable[[JSON], None],
    namespace: str,
    idp: Oidc,
) -> None:
    """Two proxies, a real Envoy and one that refuses; on all three kinds, and gone once it is mended."""
    cluster_config({})
    apply_runtime(api, namespace, {})
    pod = run_pod(change=lambda manifest: manifest["spec"].update(replicas=2))
    second = other_pod(api, namespace, pod)
    dump = 'goo.gle/debugproto    \nname: "inbound"\nvirtual_hosts {\n  name: "inner"\n}\n: value\n  does not\tmatch'

    def judge(_: str, __: str, payload: bytes) -> str:
        return dump if b"unloved.example" in payload else ""

    async with stream(xds, token_of(cluster, second), node=node_id(second), judge=judge) as client:
        await client.until(lambda: audience(namespace).encode() in contents(client), 20)

        async def status(expected: tuple[str, str], kinds: Any = OURS, **counts: int) -> dict[str, JSON]:
            return await asyncio.to_thread(awaited, api, namespace, expected, kinds=kinds, **counts)

        good = await status(("True", "Propagated"), acked=2, rejected=0, pending=0)
        assert good["revision"]
        assert api.merge("AgentRuntimeConfig", namespace, "default", inbound("unloved.example")).ok
        bad = await status(("False", "Rejected"), acked=1, rejected=1)
        assert bad["revision"] != good["revision"]
        assert bad["message"].startswith("1 of 2 proxies refused the configuration and keep the last good one: ")
        assert bad["message"].endswith("RouteConfiguration inbound: value does not match")
        assert bad["lastError"] == "RouteConfiguration inbound: value does not match"
        assert ask(pod.address, 8081, token=idp.token(aud="unloved.example")).status == 200
        assert api.merge("AgentRuntimeConfig", namespace, "default", inbound("mended.example")).ok
        mended = await status(("True", "Propagated"), acked=2, rejected=0)
        assert "lastError" not in mended
        assert mended["revision"] not in (good["revision"], bad["revision"])


def of_another_cache(pod: PodRunner) -> None:
    """Gives the pod's Envoy a DNS cache that is not ours: it then refuses each cluster that shares ours (facts §11)."""
    file = pod.volumes.folder("kagenti-config-envoy-proxy") / "envoy.yaml"
    text = file.read_text()
    assert text.count("V4_PREFERRED")
    file.write_text(text.replace("V4_PREFERRED", "V4_ONLY"))


def test_a_real_envoy_that_refuses_keeps_its_last_good_policy(
    run_pod: Callable[..., PodRunner], api: ApiClient, namespace: str, node: str, idp: Oidc
) -> None:
    """The whole change waits with it, traffic goes on as before, and the next good change is taken."""
    apply_runtime(api, namespace, outbound(rule("first.tools.svc", action="Deny")))
    pod = run_pod(names={TOOL: node}, prepare=of_another_cache)
    awaited(api, namespace, ("True", "Propagated"), acked=1)
    token = idp.token(aud=audience(namespace))
    with echoing(node) as tool:
        denied = rule(TOOL, action="Deny")
        apply_runtime(api, namespace, outbound(denied, rule("*.wild.example", action="Passthrough")))
        bad = awaited(api, namespace, ("False", "Rejected"), rejected=1, acked=0)
        assert bad["message"].startswith(
            "1 of 1 proxies refused the configuration and keep the last good one: Cluster "
        )
        assert "DNS cache" in bad["message"]
        assert "\n" not in bad["message"]
        assert call_out(pod, f"http://{TOOL}:{tool.port}/").status == 200
        assert (ask(pod.address, 8081, token=token).status, ask(pod.address, 8081).status) == (200, 401)
        apply_runtime(api, namespace, outbound(denied))
        awaited(api, namespace, ("True", "Propagated"), acked=1, rejected=0)
        wait_until(lambda: call_out(pod, f"http://{TOOL}:{tool.port}/").status == 403, 30, lambda: "not denied")


@pytest.mark.parametrize("broken", [{"bypassPaths": ["/"]}, {"bypassPaths": ["/*"]}, {"issuer": "no url"}])
def test_a_broken_setting_is_refused_before_it_reaches_anybody(
    broken: JSON, xds: Xds, api: ApiClient, namespace: str
) -> None:
    """By the API server, with the field; the object stays as it was."""
    before = api.get("AgentRuntimeConfig", namespace, "default").body["spec"]
    change = {"spec": {"identity": {"inbound": {"validation": broken}}}}
    answer = api.merge("AgentRuntimeConfig", namespace, "default", change)
    assert not answer.ok
    assert next(iter(broken)) in answer.message
    assert api.get("AgentRuntimeConfig", namespace, "default").body["spec"] == before


def test_settings_that_contradict_each_other_change_nothing(
    run_pod: Callable[..., PodRunner], api: ApiClient, namespace: str, idp: Oidc
) -> None:
    """A token that would leave the cluster in clear: proxies keep what they have, the condition names the object to mend."""
    apply_runtime(api, namespace, {})
    pod = run_pod()
    token = idp.token(aud=audience(namespace))
    assert ask(pod.address, 8081, token=token).status == 200
    awaited(api, namespace, ("True", "Propagated"), acked=1)
    inconsistent = outbound(rule("tool.example.com", "tool", "tool-scope", upstream={"tls": "Off"}))
    inconsistent["identity"]["inbound"] = {"validation": {"audience": "never.example"}}
    apply_runtime(api, namespace, inconsistent)
    named = f"AgentRuntime {namespace}/weather"
    awaited(api, namespace, ("False", "Pending"), says=named, acked=0, pending=1, rejected=0)
    assert ask(pod.address, 8081, token=token).status == 200
    apply_runtime(api, namespace, outbound(rule(TOOL, "tool", "tool-scope")))
    awaited(api, namespace, ("True", "Propagated"), acked=1, pending=0)
    wait_until(
        lambda: ask(pod.address, 8081, token=idp.token(aud="never.example")).status == 200, 30, lambda: "not mended"
    )
