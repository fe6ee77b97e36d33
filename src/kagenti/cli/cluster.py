"""What the commands read of a cluster: objects of ours, namespaces, top owners, and one object by kind and name."""

import asyncio
import dataclasses
import functools
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

import orjson

from kagenti import errors
from kagenti.cli.catalogue import Holding
from kagenti.cli.named import Named
from kagenti.cli.setup import Setup, assumption, completed
from kagenti.core import installed
from kagenti.core.admission.targets import MOST_PODS
from kagenti.core.workload import Subject, subject_of
from kagenti.kube.client import DEFAULT_TIMEOUT, KubeClient
from kagenti.kube.connection import connect
from kagenti.kube.owners import OwnerReader
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw object or an answer of discovery
_Result = TypeVar("_Result")

_OURS: Final = f"/apis/{wellknown.API_VERSION}"
_RETRIES: Final = 10  # as client-go (rest.Request.maxRetries)
_LONGEST: Final = 10.0  # seconds that a person is kept waiting at a time
_PAGE: Final = 500  # objects of one list request
_JSON: Final = "application/json"
_INJECTOR: Final = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{installed.INJECTOR}"
_IN_NAMESPACE: Final = {"AgentRuntimeConfig": "agentruntimeconfigs", "AgentRuntime": "agentruntimes"}


class PatientClient(KubeClient):
    """Asks again where the API server asks to come back later: for a second after a CRD is applied, or under load."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "",
        accept: str = "application/json",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> bytes:
        """Returns the body of a 2xx answer, as KubeClient does, after ten retries at most."""
        asked = functools.partial(
            super().request,
            method,
            path,
            params=params,
            body=body,
            content_type=content_type,
            accept=accept,
            timeout=timeout,
        )
        for _ in range(_RETRIES):
            try:
                return await asked()
            except errors.TooManyRequests as problem:
                await asyncio.sleep(1.0 if problem.retry_after is None else min(problem.retry_after, _LONGEST))
        return await asked()


def session(kubeconfig: str, work: Callable[[KubeClient], Awaitable[_Result]]) -> _Result:
    """Returns what ``work`` makes of a client.

    Connects before the loop runs: the plugin of a kubeconfig (exec, auth provider) runs a loop of its own.
    """
    connection = connect(kubeconfig)

    async def run() -> _Result:
        async with PatientClient(connection, user_agent="kagenti-cli") as client:
            return await work(client)

    return asyncio.run(run())


async def as_installed(client: KubeClient, setup: Setup) -> Setup:
    """Returns the setup with what was assumed read from the cluster; where it cannot be read, says what is assumed.

    Raises:
        ClusterError: The API server does not answer.
    """
    if not setup.assumed:
        return setup
    try:
        found = completed(setup, await read(client, _INJECTOR))
        why = f"no entry of ours stands in a MutatingWebhookConfiguration {installed.INJECTOR}: nothing is injected there now"
    except errors.Forbidden as problem:
        found, why = None, str(problem)
    if found is not None:
        return found
    if not setup.told:
        sys.stderr.write(f"kagenti: {assumption(setup, why)}\n")
    return dataclasses.replace(setup, told=True)  # still assumed: whoever watches sees it once it is there


async def holding(client: KubeClient, namespaces: Iterable[str] | None) -> Holding:
    """Returns what the cluster holds for these namespaces; None: for all."""
    places = sorted(namespaces or ())
    lists = [("AgentRuntimeClusterConfig", f"{_OURS}/agentruntimeclusterconfigs")]
    lists += [
        (kind, f"{_OURS}{place}/{plural}")
        for place in (("",) if namespaces is None else (f"/namespaces/{quote(place, safe='')}" for place in places))
        for kind, plural in _IN_NAMESPACE.items()
    ]
    found = Holding()
    try:
        bodies = await asyncio.gather(*(client.get(path) for _, path in lists))
    except errors.NotFound as problem:
        raise errors.NotFound(
            f"the cluster does not serve {wellknown.API_VERSION}: kagenti is not installed there; "
            f"`kagenti crds --apply` installs its kinds ({problem})"
        ) from problem
    for (kind, _), body in zip(lists, bodies, strict=True):
        for item in orjson.loads(body)["items"]:
            found.add({**item, "kind": kind, "apiVersion": wellknown.API_VERSION}, namespace="")
    for item in await _namespaces(client, places):
        found.add({**item, "kind": "Namespace", "apiVersion": "v1"}, namespace="")
    return found


async def _namespaces(client: KubeClient, places: list[str]) -> list[JSON]:
    """Returns every namespace, or those of these that exist where only single ones may be read."""
    try:
        items: list[JSON] = orjson.loads(await client.get("/api/v1/namespaces"))["items"]
    except errors.Forbidden:
        found = await asyncio.gather(*(read(client, f"/api/v1/namespaces/{quote(place, safe='')}") for place in places))
        return [item for item in found if item is not None]
    return items


async def climb(client: KubeClient, held: Holding, subjects: Iterable[Subject]) -> None:
    """Reads the top owner of each subject that has a controller into what is held, as the webhook reads it."""
    reader = OwnerReader(client)
    for subject in subjects:
        reference = held.reference(subject)
        if reference is not None:
            held.tops[subject.namespace, reference] = await reader.top_owner(reference, subject.namespace)


async def pods_of_account(client: KubeClient, subject: Subject) -> list[Subject]:
    """Returns the running pods of ours under a workload's service account; none where they may not be listed."""
    params = {
        "fieldSelector": f"spec.serviceAccountName={subject.service_account}",
        "labelSelector": f"{wellknown.MANAGED_LABEL}=true",
        "limit": str(MOST_PODS),
    }
    path = f"/api/v1/namespaces/{quote(subject.namespace, safe='')}/pods"
    try:
        items = orjson.loads(await client.get(path, params=params))["items"]
    except (errors.Forbidden, errors.NotFound):
        return []
    found = (subject_of({**item, "kind": "Pod", "apiVersion": "v1"}, namespace=subject.namespace) for item in items)
    return [pod for pod in found if pod is not None]


async def every(client: KubeClient, path: str, *, accept: str = _JSON, **params: str) -> list[JSON]:
    """Returns every item of a list, page by page; ``accept`` may ask for metadata only."""
    items: list[JSON] = []
    token = ""
    while True:
        query = {"limit": str(_PAGE), **params, **({"continue": token} if token else {})}
        answer = orjson.loads(await client.get(path, params=query, accept=accept))
        items += answer.get("items") or ()
        token = (answer.get("metadata") or {}).get("continue") or ""
        if not token:
            return items


async def read(client: KubeClient, path: str) -> JSON:
    """Returns an object, or None where it does not exist."""
    try:
        return orjson.loads(await client.get(path))
    except errors.NotFound:
        return None


async def find(client: KubeClient, named: Named, *, namespace: str) -> tuple[Named, JSON]:
    """Returns the workload's kind as the API server knows it, and the object, None where it does not exist.

    Raises:
        UsageError: The API server knows no such kind.
    """
    group = named.group
    version = {"": "v1", "apps": "v1", "batch": "v1"}.get(group) if named.built_in else None
    if version is None:
        served = await read(client, f"/apis/{quote(group, safe='')}")
        if served is None:
            raise errors.UsageError(f"the cluster serves no API group {group!r}; `kubectl api-resources` lists them")
        version = served["preferredVersion"]["version"]
    base = f"/apis/{group}/{version}" if group else f"/api/{version}"
    kind, plural = (named.kind, named.plural) if named.built_in else await _resource(client, base, named)
    item = await read(client, f"{base}/namespaces/{quote(namespace, safe='')}/{plural}/{quote(named.name, safe='')}")
    known = Named(kind, group, named.name, built_in=named.built_in, version=version)
    # A single object comes with kind and apiVersion; they are what was asked for, whatever a server leaves out.
    return known, None if item is None else {**item, "kind": kind, "apiVersion": known.api_version}


async def _resource(client: KubeClient, base: str, named: Named) -> tuple[str, str]:
    """Returns kind and plural of the resource that was named by its kind, plural, singular or a short name."""
    for found in (await read(client, base) or {}).get("resources") or ():
        names = (found["name"], found.get("singularName"), found["kind"].lower(), *(found.get("shortNames") or ()))
        subresource = "/" in found["name"]
        if named.kind in names and found.get("namespaced") and not subresource:
            return found["kind"], found["name"]
    raise errors.UsageError(f"{base} serves no namespaced kind {named.kind!r}; `kubectl api-resources` lists them")
