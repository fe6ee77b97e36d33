"""What this replica holds, for the person who asks why: streams, snapshots, key sets; on loopback only.

Names, versions and reasons; never the content of a resource, and there is no secret in any of them.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from kagenti.pages import JSON_TYPE, Page
from kagenti.xds.census import Census, Proxy
from kagenti.xds.identity import PodIdentity
from kagenti.xds.keys import Keyring
from kagenti.xds.shelf import Entry
from kagenti.xds.snapshots import Snapshots

JSON = Any  # what a page shows


def pages(census: Census, snapshots: Snapshots, keys: Keyring) -> Mapping[str, Page]:
    """Returns the pages by path."""
    return {
        "/debug/streams": lambda: _page([_stream(proxy) for proxy in census.proxies()]),
        "/debug/snapshots": lambda: _page([_snapshot(entry) for entry in snapshots.entries()]),
        "/debug/keys": lambda: _page([state.shown() for state in keys.states()]),
    }


def _page(content: JSON) -> tuple[int, str, bytes]:
    return 200, JSON_TYPE, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _stream(proxy: Proxy) -> JSON:
    connection, state = proxy.connection, proxy.state
    identity = connection.identity
    pod = identity.pod if isinstance(identity, PodIdentity) else None
    return {
        "pod": f"{pod.namespace}/{pod.name}" if pod is not None else "",
        "uid": pod.uid if pod is not None else "",
        "workload": str(proxy.workload),
        "kind": connection.kind,
        "peer": connection.peer,
        "node": connection.node.id,
        "expiresAt": identity.expires_at,
        "revision": state.revision if state is not None else "",
        "verdict": state.verdict if state is not None else "pending",
        "rejected": [
            {"type": type_url, "name": found.name, "message": found.message}
            for type_url, found in (state.rejected if state is not None else ())
        ],
    }


def _snapshot(entry: Entry) -> JSON:
    snapshot = entry.snapshot
    return {
        "workload": str(entry.key.workload),
        "serviceAccount": entry.key.service_account,
        "layout": entry.key.layout,
        "receipt": entry.key.receipt,
        "streams": len(entry.readers),
        "pods": sorted({reader.uid for reader in entry.readers}),
        "liveRevision": entry.revision,
        "kept": entry.kept,
        "keys": entry.url,
        "revision": snapshot.revision if snapshot is not None else "",
        "withheld": sorted(name for _, name in snapshot.withheld) if snapshot is not None else [],
        "resources": {
            type_url.rpartition(".")[2]: {name: found.version for name, found in resources.items()}
            for type_url, resources in (snapshot.resources.items() if snapshot is not None else ())
        },
    }
