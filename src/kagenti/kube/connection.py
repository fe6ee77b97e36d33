"""Where the API server is and who we are: from a kubeconfig, with its plugins, or from the pod that we run in."""

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from kagenti import errors

JSON = Any  # a kubeconfig

_FILES: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_POD_CREDENTIALS: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API server is and who we are: ``token_file`` is read again as it is rotated."""

    server: str
    tls: ssl.SSLContext | None
    token: str = ""
    token_file: Path | None = None


def connect(kubeconfig: str = "") -> Connection:
    """Returns the connection of a kubeconfig (argument, KUBECONFIG, home) or of the pod; raises UsageError without one.

    Argument and KUBECONFIG may be a list of files, which count as one (client-go, ClientConfigLoadingRules).
    """
    if not kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _from_pod()
    for listed in (kubeconfig, os.environ.get("KUBECONFIG", ""), str(Path.home() / ".kube" / "config")):
        paths = [Path(path) for path in listed.split(os.pathsep) if path and Path(path).exists()]
        if paths:
            return _from_kubeconfig(listed, paths)
        if listed == kubeconfig and kubeconfig:
            raise errors.UsageError(f"kubeconfig {kubeconfig!r} does not exist; name another with --kubeconfig")
    raise errors.UsageError("no cluster: not in a pod, and no kubeconfig found; set KUBECONFIG or use --kubeconfig")


def _from_pod() -> Connection:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    context = ssl.create_default_context(cafile=str(_POD_CREDENTIALS / "ca.crt"))
    return Connection(f"https://{host}:{port}", context, token_file=_POD_CREDENTIALS / "token")


def _from_kubeconfig(listed: str, paths: list[Path]) -> Connection:
    config = _merged(paths)
    try:
        chosen = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], chosen["cluster"])["cluster"]
        user = _named(config["users"], chosen["user"]).get("user") or {}
        server = str(cluster["server"])
    except (KeyError, TypeError) as problem:
        raise errors.UsageError(f"kubeconfig {listed!r} has no usable current context: {problem}; mend it") from problem
    if "exec" in user or "auth-provider" in user:
        user = {"token": _plugin_token(listed)}
    token_file = user.get("tokenFile")
    return Connection(
        server=server.rstrip("/"),
        tls=_context(cluster, user) if server.startswith("https") else None,
        token=user.get("token") or "",
        token_file=Path(token_file) if token_file else None,
    )


def _merged(paths: list[Path]) -> JSON:
    """Returns files as one: names of the first come first, and the first current context that is set counts."""
    whole: JSON = {"clusters": [], "users": [], "contexts": [], "current-context": ""}
    for path in paths:
        config = _load(path) or {}  # an empty file says nothing
        if not isinstance(config, dict):
            raise errors.UsageError(f"{str(path)!r} is not a kubeconfig; mend it, or name another with --kubeconfig")
        for kind, inner in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            whole[kind] += [
                {**entry, inner: _placed(entry.get(inner), path.parent)} for entry in config.get(kind) or ()
            ]
        whole["current-context"] = whole["current-context"] or config.get("current-context") or ""
    return whole


def _placed(entry: JSON, folder: Path) -> JSON:
    """Returns an entry whose files are named from the root: they are named from their kubeconfig's folder."""
    return {key: str(folder / value) if key in _FILES and value else value for key, value in (entry or {}).items()}


def _load(path: Path) -> JSON:
    text = path.read_bytes()
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        from ruamel.yaml import YAML  # lazily: the webhook in a pod never needs it
        from ruamel.yaml.error import YAMLError

        try:
            return YAML(typ="safe", pure=True).load(text)
        except YAMLError as problem:
            raise errors.UsageError(f"kubeconfig {str(path)!r} is not YAML: {problem}; mend it") from problem


def _named(entries: list[JSON], name: str) -> JSON:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def _plugin_token(listed: str) -> str:
    """Returns the token of an exec plugin or auth provider, through the official client (it takes over a second)."""
    import asyncio

    from kubernetes.aio import client, config

    async def load() -> str:
        configuration = client.Configuration()
        await config.load_kube_config(  # type: ignore[no-untyped-call]  # the official client has no types
            config_file=listed, client_configuration=configuration
        )
        value: str = (configuration.api_key or {}).get("authorization", "") or configuration.api_key.get(
            "BearerToken", ""
        )
        return value.removeprefix("Bearer ")

    return asyncio.run(load())


def _context(cluster: Mapping[str, JSON], user: Mapping[str, JSON]) -> ssl.SSLContext:
    authority = cluster.get("certificate-authority-data")
    file = cluster.get("certificate-authority")
    context = ssl.create_default_context(
        cadata=base64.b64decode(authority).decode() if authority else None,
        cafile=file if file and not authority else None,
    )
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if user.get("client-certificate-data"):
        _load_inline(context, user)
    elif user.get("client-certificate"):
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context


def _load_inline(context: ssl.SSLContext, user: Mapping[str, JSON]) -> None:
    """Loads an inline client certificate; the ssl module reads files only."""
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(
            base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"])
        )
        pair.flush()
        context.load_cert_chain(pair.name)
