"""The files that old sidecars mounted: helper.conf, envoy.yaml, and config.yaml of the consolidated binary.

Source: reference authbridge-contract sections 3.1, 3.2, 3.6 and 5.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kagenti.core.migration import keys, reasons, shapes, texts
from kagenti.core.migration.keys import HELPER, RUNTIME
from kagenti.core.migration.report import Report, credentials, quoted

JSON = Any  # a value of an old file

_TOKEN_FILE: Final = "jwt_svid.token"  # noqa: S105  # a file's name
_LISTENERS: Final = ("outbound_listener", "inbound_listener")
_CLUSTERS: Final = ("original_destination", "ext_proc_cluster")
_FILTERS: Final = ("envoy.filters.http.lua", "envoy.filters.http.ext_proc", "envoy.filters.http.router")
DIRECTION: Final = "x-authbridge-direction"


def helper(place: str, text: str, *, report: Report) -> str:
    """Returns the audience of the JWT-SVID that helper.conf asks for; empty without one."""
    if not text.strip():
        return ""
    try:
        found = texts.read_hcl(text)
    except texts.Unreadable as problem:
        report.fault(reasons.MALFORMED, place, f"helper.conf: {problem}; mend it", "helper.conf")
        return ""
    for name in found:
        if name != "jwt_svids":
            report.take(place, name, keys.key(HELPER, name))
    if "jwt_svids" not in found:
        return ""
    wanted = found["jwt_svids"]
    if not _is_list(wanted) or not all(isinstance(entry, Mapping) for entry in wanted):
        message = f"helper.conf: jwt_svids is {quoted(wanted)}, want a list of objects; mend it"
        report.fault(reasons.WRONG_TYPE, place, message, "jwt_svids")
        return ""
    ours = [entry for entry in wanted if str(entry.get("jwt_svid_file_name", "")).endswith(_TOKEN_FILE)]
    audience = ours[0].get("jwt_audience") if ours else None
    if not isinstance(audience, str) or not audience:
        report.impossible(
            place, "jwt_svids", f"no entry writes {_TOKEN_FILE}, which alone was read: set jwtAudience yourself"
        )
        return ""
    others = len(wanted) > 1 or bool(ours[0].get("jwt_extra_audiences"))
    why = "other audiences of the list are not carried: one token is written" if others else ""
    report.take(place, "jwt_svids", keys.key(HELPER, "jwt_svids"), why=why)
    return audience


def _is_list(value: JSON) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _listed(value: JSON) -> Sequence[JSON]:
    """Returns a list as it is, and nothing for what is none."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


@dataclass(frozen=True, slots=True)
class EnvoyFile:
    """What matters of an envoy.yaml: ``inbound_marked`` whether the processor could see that a request was inbound.

    A mark by ``request_headers_to_add`` is applied after the processor (section 3.2): it then skipped validation.
    """

    inbound_marked: bool = True


def envoy(place: str, text: str, *, report: Report, used: bool) -> EnvoyFile | None:
    """Returns the facts of envoy.yaml, None without a readable one; everything that is not stock is said to be left behind."""
    unused = "" if used else "the binaries of this era rendered their own"
    found = _mapping(place, text, "envoy.yaml", unused, report)
    if found is None or _refused(place, shapes.fault_of_envoy(found), report):
        return None
    resources = found.get("static_resources") or {}
    for name in ("admin", "listeners", "clusters", "http_filters"):
        report.take(place, name, keys.key(keys.ENVOY, name))
    for name in (name for name in found if name not in ("admin", "static_resources")):
        report.impossible(place, str(name), "kagenti renders its own bootstrap")
    custom = [*_others(resources, "listeners", _LISTENERS), *_others(resources, "clusters", _CLUSTERS)]
    custom += sorted({name for name in _named(resources, "http_filters") if name not in _FILTERS})
    if custom:
        message = f"{', '.join(custom)} of envoy.yaml are not carried: express them by settings, or leave them out"
        report.warn(reasons.ENVOY_CUSTOM, place, message, "envoy.yaml")
    return EnvoyFile(inbound_marked=any(DIRECTION in script for script in _scripts(resources)))


def _refused(place: str, fault: str, report: Report) -> bool:
    """Notes a file of wrong types; returns whether it is one."""
    if fault:
        report.fault(reasons.WRONG_TYPE, place, f"{fault}; mend it", fault.partition(":")[0])
    return bool(fault)


def _mapping(place: str, text: str, name: str, unused: str, report: Report) -> Mapping[str, JSON] | None:
    """Returns a YAML file of keys and values; None without one, with a fault where it is something else."""
    if not text.strip():
        return None
    if unused:
        report.take(place, name, keys.Key("ignored", why=unused))
        return None
    try:
        found = texts.read_yaml(text)
    except texts.Unreadable as problem:
        report.fault(reasons.MALFORMED, place, f"{name}: {problem}; mend it, or delete it", name)
        return None
    if not isinstance(found, Mapping):
        report.fault(reasons.WRONG_TYPE, place, f"{name} is {quoted(found)}, want keys and values; mend it", name)
        return None
    return found


def _others(resources: Mapping[str, JSON], kind: str, stock: Sequence[str]) -> Iterator[str]:
    items = resources.get(kind)
    for item in _listed(items):
        name = item.get("name") if isinstance(item, Mapping) else None
        if name not in stock:
            yield f"{kind[:-1]} {name!r}"


def _named(node: JSON, key: str) -> Iterator[str]:
    """Yields the names of the items of every list that stands under a key, however deep."""
    for item in _under(node, key):
        if isinstance(item, Mapping) and isinstance(item.get("name"), str):
            yield item["name"]


def _under(node: JSON, key: str) -> Iterator[JSON]:
    pending = [node]
    while pending:
        found = pending.pop()
        if isinstance(found, Mapping):
            if _is_list(found.get(key)):
                yield from found[key]
            pending.extend(found.values())
        elif _is_list(found):
            pending.extend(found)


def _scripts(node: JSON) -> Iterator[str]:
    pending = [node]
    while pending:
        found = pending.pop()
        if isinstance(found, Mapping):
            if isinstance(found.get("inline_string"), str) and "inbound" in found["inline_string"]:
                yield found["inline_string"]
            pending.extend(value for name, value in found.items() if name != "inline_string")
            if isinstance(found.get("inline_code"), str):
                yield found["inline_code"]
        elif _is_list(found):
            pending.extend(found)


@dataclass(frozen=True, slots=True)
class RuntimeFile:
    """What of authbridge-runtime-config has a counterpart: plugin settings by ``<plugin>.<field>``, and whether SPIRE is on.

    ``mode`` is empty where the operator chose it.
    """

    values: Mapping[str, JSON] = field(default_factory=dict)
    spire: bool = False
    mode: str = ""
    place: str = ""


_PLAIN: Final = "a credential in plain text, which is not carried: put it into a Secret, then delete the key"
_PLUGINS: Final = {"inbound": "jwt-validation", "outbound": "token-exchange"}
_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "jwt-validation.bypass_paths": list,
    "jwt-validation.allowed_audiences": list,
    "token-exchange.identity": dict,
    "token-exchange.routes": dict,
    "token-exchange.audience_from_host": bool,
}


def runtime(place: str, text: str, *, report: Report, used: bool) -> RuntimeFile | None:
    """Returns the settings of config.yaml, None without a readable one; keys without a counterpart are noted."""
    found = _mapping(place, text, "config.yaml", "" if used else "the webhook of this era did not read it", report)
    if found is None or _refused(place, shapes.fault_of_runtime(found), report):
        return None
    for name in found:
        if name != "pipeline":
            report.take(place, str(name), keys.key(RUNTIME, str(name)))
    for name in credentials(found):
        report.warn(reasons.PLAIN_CREDENTIAL, place, f"{name}: {_PLAIN}", name)
    values: dict[str, JSON] = {}
    for plugin, name, value in _plugin_fields(found, place, report):
        wanted = _TYPES.get(f"{plugin}.{name}", str)
        if not isinstance(value, wanted):
            report.fault(reasons.WRONG_TYPE, place, f"{plugin}.{name} is {quoted(value)}; mend it", f"{plugin}.{name}")
            return None
        values[f"{plugin}.{name}"] = value
    by_svid = (values.get("token-exchange.identity") or {}).get("type") == "spiffe"
    mode = found.get("mode")
    return RuntimeFile(values, "spiffe" in found or by_svid, mode if isinstance(mode, str) else "", place)


def _plugin_fields(found: Mapping[str, JSON], place: str, report: Report) -> Iterator[tuple[str, str, JSON]]:
    pipeline = found.get("pipeline") or {}
    for direction in (name for name in pipeline if name not in _PLUGINS):
        report.take(place, f"pipeline.{direction}", keys.UNKNOWN)
    for direction, known in _PLUGINS.items():
        for entry in (pipeline.get(direction) or {}).get("plugins") or ():
            name = entry.get("name") if isinstance(entry, Mapping) else entry
            if name != known:
                report.impossible(place, f"pipeline.{direction}.plugins[{name}]", keys.key(RUNTIME, "plugin").why)
                continue
            config = entry.get("config") if isinstance(entry, Mapping) else None
            for key, value in (config or {}).items():
                yield known, str(key), value
