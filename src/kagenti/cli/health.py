"""``kagenti check``: reads an installation, asks for one pod as a dry run, prints what core finds; changes nothing."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

import orjson

from kagenti import errors
from kagenti.cli import cluster
from kagenti.cli.structured import dump
from kagenti.core import health, installed
from kagenti.core.health import Answer, Facts, Fleet
from kagenti.core.settings.model import Finding
from kagenti.kube.client import KubeClient
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw object

_CONFIGURATIONS: Final = "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations/{}"
_CRD: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}." + wellknown.GROUP
_DRIVER: Final = "/apis/storage.k8s.io/v1/csidrivers/{}"
_WORKLOADS: Final = {
    "Deployment": "/apis/apps/v1/deployments",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "DaemonSet": "/apis/apps/v1/daemonsets",
    "CronJob": "/apis/batch/v1/cronjobs",
}


def run(*, namespace: str, release_namespace: str, purpose: health.Purpose, output: str, kubeconfig: str) -> int:
    """Prints the findings; returns 1 if there are any."""

    async def work(client: KubeClient) -> tuple[Facts, list[Finding]]:
        facts = await _Reader(client).facts(namespace, release_namespace)
        findings = health.examine(facts)
        if purpose:
            findings += health.before(
                purpose, await _fleet(client, purpose, facts), target=installed.target(facts.injector)
            )
        return facts, findings

    facts, findings = cluster.session(kubeconfig, work)
    sys.stdout.write(_printed(facts, findings, output))
    return int(bool(findings))


class _Reader:
    """Reads what it may; what is forbidden is noted, so that a narrow account can check what it sees."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self.unread: list[str] = []

    async def facts(self, namespace: str, release_namespace: str) -> Facts:
        """Returns the facts; ``namespace`` is where the dry run goes."""
        injector = await self._one(
            f"MutatingWebhookConfiguration {installed.INJECTOR}", _CONFIGURATIONS.format("mutating", installed.INJECTOR)
        )
        validator = await self._one(
            f"ValidatingWebhookConfiguration {installed.VALIDATOR}",
            _CONFIGURATIONS.format("validating", installed.VALIDATOR),
        )
        crds = {plural: await self._one(f"CRD {plural}", _CRD.format(plural)) for plural in health.CRDS}
        probe = await self._probe(namespace, injector) if injector is not None else None
        place = quote(release_namespace, safe="")
        return Facts(
            injector=injector,
            validator=validator,
            deployments=await self._many("Deployments", f"/apis/apps/v1/namespaces/{place}/deployments"),
            crds={plural: found for plural, found in crds.items() if f"CRD {plural}" not in self.unread},
            namespaces=await self._many("namespaces", "/api/v1/namespaces"),
            probe=probe,
            drivers=await self._drivers(probe),
            lease=await self._one(
                health.LEASE, f"/apis/coordination.k8s.io/v1/namespaces/{place}/leases/{health.OPERATOR}"
            ),
            unread=tuple(self.unread),
        )

    async def _probe(self, namespace: str, injector: JSON) -> Answer:
        manifest = health.probe(namespace, installed.target(injector))
        pods = manifest["kind"] == "Pod"
        path = f"/api/v1/namespaces/{namespace}/pods" if pods else f"/apis/apps/v1/namespaces/{namespace}/deployments"
        try:
            body = await self._client.request(
                "POST",
                path,
                params={"dryRun": "All"},
                body=orjson.dumps(manifest),
                content_type="application/json",
                timeout=15.0,  # the API server waits five seconds for each webhook, ours and others'
            )
        except errors.ClusterError as problem:
            return Answer(refusal=str(problem))
        return Answer(stored=orjson.loads(body))

    async def _drivers(self, probe: Answer | None) -> dict[str, JSON]:
        names = health.needed_drivers(probe.stored) if probe is not None else set()
        found = {name: await self._one(f"CSIDriver {name}", _DRIVER.format(quote(name, safe=""))) for name in names}
        return {name: driver for name, driver in found.items() if f"CSIDriver {name}" not in self.unread}

    async def _one(self, what: str, path: str) -> JSON:
        return await self._allowed(what, lambda: cluster.read(self._client, path), None)

    async def _many(self, what: str, path: str) -> list[JSON]:
        found: list[JSON] = await self._allowed(what, lambda: cluster.every(self._client, path), [])
        return found

    async def _allowed(self, what: str, ask: Callable[[], Awaitable[JSON]], otherwise: JSON) -> JSON:
        try:
            return await ask()
        except errors.Forbidden:
            self.unread.append(what)
            return otherwise


async def _fleet(client: KubeClient, purpose: health.Purpose, facts: Facts) -> Fleet:
    if purpose == "upgrade":
        return await _versions(client, facts)
    kinds = list(_WORKLOADS.items())
    pods, runtimes, *lists = await asyncio.gather(
        cluster.every(client, "/api/v1/pods", labelSelector=f"{wellknown.MANAGED_LABEL}=true"),
        cluster.every(client, f"/apis/{wellknown.API_VERSION}/agentruntimes"),
        *(cluster.every(client, path) for _, path in kinds),
    )
    workloads = [
        {**item, "kind": kind, "apiVersion": "batch/v1" if kind == "CronJob" else "apps/v1"}
        for (kind, _), items in zip(kinds, lists, strict=True)
        for item in items
    ]
    references = [(item["metadata"]["namespace"], item["spec"]["targetRef"]) for item in runtimes]
    targets = frozenset((target["kind"], namespace, target["name"]) for namespace, target in references)
    return Fleet(pods=pods, workloads=workloads, targets=targets)


async def _versions(client: KubeClient, facts: Facts) -> Fleet:
    """Returns what another version may have left: pods, objects of our kinds, and CRDs."""
    from kagenti.cli import schemas  # jsonschema takes a tenth of a second, and no other check needs it

    packaged = schemas.packaged()
    kinds = {crd["spec"]["names"]["plural"]: crd["spec"]["names"]["kind"] for crd in packaged.values()}
    there = [plural for plural in kinds if facts.crds.get(plural) is not None]
    pods, *lists = await asyncio.gather(
        cluster.every(client, "/api/v1/pods", labelSelector=f"{wellknown.MANAGED_LABEL}=true"),
        *(cluster.every(client, f"/apis/{wellknown.API_VERSION}/{plural}") for plural in there),
    )
    objects = [{**item, "kind": kinds[plural]} for plural, items in zip(there, lists, strict=True) for item in items]
    installed = {f"{plural}.{wellknown.GROUP}": facts.crds[plural] for plural in there}
    return Fleet(pods=pods, objects=objects, installed=installed, packaged=packaged)


def _printed(facts: Facts, findings: list[Finding], output: str) -> str:
    rows = [{"reason": finding.reason, "message": finding.message} for finding in findings]
    if output != "table":
        answer = {"healthy": not rows, "findings": rows, "notChecked": list(facts.unread)}
        return dump(answer, output)
    lines = [f"{row['reason']}: {row['message']}" for row in rows] or ["healthy: a dry-run pod comes back injected"]
    lines += [f"not checked, this account may not read it: {what}" for what in facts.unread]
    return "\n".join(lines) + "\n"
