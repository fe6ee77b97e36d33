"""JSON-form dicts of core → protobuf messages → resources for the wire.

The dicts carry proto field names, durations as "0.25s", wrappers as plain scalars, enums by name, and Any as an object
with "@type". What fills a message is compiled once for each type, from its descriptor, and then touches every value once.
``json_format.ParseDict`` gives the same five to ten times slower and is used by tests only, to compare.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from kagenti import errors
from kagenti.core import ads
from kagenti.xds import values
from kagenti.xds.values import JSON, Fault, Fill, Target

_REFUSALS: Final = (AttributeError, KeyError, TypeError, ValueError)  # protobuf's ways to refuse a value
_PREFIX: Final = "type.googleapis.com/"
_ANY: Final = "google.protobuf.Any"
_PACKAGES: Final = ("envoy.", "google.protobuf", "xds.")
# Where our resources' types live. Another type is looked for, once, in the modules of its proto package.
_MODULES: Final[Mapping[str, str]] = {
    "envoy.config.cluster.v3.Cluster": "envoy.config.cluster.v3.cluster_pb2",
    "envoy.config.core.v3.TypedExtensionConfig": "envoy.config.core.v3.extension_pb2",
    "envoy.config.route.v3.RouteConfiguration": "envoy.config.route.v3.route_pb2",
    "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig": (
        "envoy.extensions.clusters.dynamic_forward_proxy.v3.cluster_pb2"
    ),
    "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute": (
        "envoy.extensions.filters.http.ext_proc.v3.ext_proc_pb2"
    ),
    "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication": (
        "envoy.extensions.filters.http.jwt_authn.v3.config_pb2"
    ),
    "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig": (
        "envoy.extensions.filters.http.jwt_authn.v3.config_pb2"
    ),
    "envoy.extensions.filters.http.rbac.v3.RBACPerRoute": "envoy.extensions.filters.http.rbac.v3.rbac_pb2",
    "envoy.extensions.filters.network.rbac.v3.RBAC": "envoy.extensions.filters.network.rbac.v3.rbac_pb2",
    "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig": (
        "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.sni_dynamic_forward_proxy_pb2"
    ),
    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext": "envoy.extensions.transport_sockets.tls.v3.tls_pb2",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": (
        "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2"
    ),
}


class Unbuildable(errors.Defect):
    """A dict is no message of its type: an unknown field, a wrong value; the message names the place."""


def encode(type_url: str, name: str, body: JSON, references: frozenset[ads.Reference] = frozenset()) -> ads.Encoded:
    """Returns a resource for the wire; its version is the hash of its bytes, in which maps are sorted.

    Args:
        type_url: Type URL of the resource.
        name: Name under which Envoy subscribes to it.
        body: The JSON-form dict; not modified.
        references: Type URL and name of everything that it needs to exist.

    Raises:
        Unbuildable: The dict is no message of that type.
    """
    try:
        payload = build(type_url, body).SerializeToString(deterministic=True)
    except Unbuildable as error:
        raise Unbuildable(f'cannot build "{name}": {error}') from error
    return ads.Encoded.of(type_url, name, payload, references)


def build(type_url: str, body: JSON) -> Message:
    """Returns the message of a type URL that a JSON-form dict describes.

    Raises:
        Unbuildable: The dict is no message of that type.
    """
    try:
        return _shape(type_url.removeprefix(_PREFIX)).build(body)
    except Fault as fault:
        place = f' field "{fault.path}"' if fault.path else ""
        raise Unbuildable(f"{type_url.removeprefix(_PREFIX)}{place}: {fault.reason}") from fault


class _Shape:
    """What is known of one message type: how to fill each field, and which fields exclude each other."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.name: Final = descriptor.full_name
        self._new: Final[Callable[[], Message]] = message_factory.GetMessageClass(descriptor)
        self._descriptor: Final = descriptor

    @functools.cached_property
    def _fields(self) -> Mapping[str, Fill]:
        # Made at first use, since message types contain themselves.
        return {field.name: _filler(field) for field in self._descriptor.fields}

    @functools.cached_property
    def _choices(self) -> Mapping[str, int]:
        """The oneof of each field that has rivals."""
        groups = enumerate(oneof.fields for oneof in self._descriptor.oneofs)
        return {field.name: index for index, fields in groups if len(fields) > 1 for field in fields}

    def build(self, body: JSON) -> Message:
        """Returns the message of a JSON-form dict; raises Fault."""
        message = self._new()
        self.fill(message, body)
        return message

    def build_of(self, value: JSON, fill: Fill) -> Message:
        """Returns the message that ``fill`` makes of a value; raises Fault."""
        message = self._new()
        fill(message, value)
        return message

    def fill(self, message: Target, body: JSON) -> None:
        """Fills a message of this type; raises Fault."""
        if not isinstance(body, dict):
            raise Fault(f"want an object of {self.name}, not {body!r:.60}")
        fields, name = self._fields, ""
        try:
            for name, value in body.items():
                fields[name](message, value)
        except Fault as fault:
            raise fault.inside(name) from None
        except _REFUSALS as error:
            raise self._fault(name, error) from error
        if len(body) > 1 and self._choices:
            self._check_choices(body)

    def _fault(self, name: str, error: Exception) -> Fault:
        if name not in self._fields:
            return Fault(f"{self.name} has no such field in xds-protos, which may be older than Envoy's", name)
        return Fault(str(error), name)

    def _check_choices(self, body: Mapping[str, JSON]) -> None:
        chosen: dict[int, str] = {}
        for name in body:
            index = self._choices.get(name)
            if index is not None and body[name] is not None and chosen.setdefault(index, name) != name:
                raise Fault(f'excludes "{chosen[index]}" in {self.name}', name)


@functools.cache
def _shape(name: str) -> _Shape:
    return _Shape(_descriptor(name))


def _descriptor(name: str) -> Descriptor:
    pool = descriptor_pool.Default()
    if name in _MODULES:
        importlib.import_module(_MODULES[name])
    try:
        return pool.FindMessageTypeByName(name)
    except KeyError:
        _import_package(name.rpartition(".")[0])
    try:
        return pool.FindMessageTypeByName(name)
    except KeyError:
        raise Fault(f'no message type "{name}" in xds-protos', "@type") from None


def _import_package(name: str) -> None:
    """Imports all message modules of a proto package, for types that no table names."""
    if not name.startswith(_PACKAGES):
        return
    try:
        package = importlib.import_module(name)
    except ImportError:
        return
    for module in pkgutil.iter_modules(package.__path__, name + "."):
        if module.name.endswith("_pb2"):
            importlib.import_module(module.name)


def _filler(field: FieldDescriptor) -> Fill:
    """Returns what fills one field of a message; null leaves it unset, except where null is a value."""
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return _map_filler(field.name, entry)
    if entry is None:
        return _scalars_filler(field) if field.is_repeated else _scalar_filler(field)
    fill = _message_filler(entry.full_name)
    if field.is_repeated:
        return _list_filler(field.name, fill)
    return _single_filler(field.name, fill, takes_null=fill is values.fill_value)


def _message_filler(name: str) -> Fill:
    return _fill_any if name == _ANY else values.WELL_KNOWN.get(name) or _shape(name).fill


def _single_filler(name: str, fill: Fill, *, takes_null: bool) -> Fill:
    def run(message: Target, value: JSON) -> None:
        if value is None and not takes_null:
            return
        part = getattr(message, name)
        if not value:
            part.SetInParent()  # an empty message is there too
        fill(part, value)

    return run


def _list_filler(name: str, fill: Fill) -> Fill:
    def run(message: Target, value: JSON) -> None:
        if value is None:
            return
        add, items, index = getattr(message, name).add, _list(value), 0
        try:
            for index, item in enumerate(items):  # noqa: B007  # read when an item fails
                fill(add(), item)
        except Fault as fault:
            raise fault.inside(f"[{index}]") from None
        except _REFUSALS as error:
            raise Fault(str(error), f"[{index}]") from error

    return run


def _map_filler(name: str, entry: Descriptor) -> Fill:
    key, value_field = values.key(entry.fields_by_name["key"]), entry.fields_by_name["value"]
    if value_field.message_type is None:
        return _scalar_map_filler(name, key, values.scalar(value_field))
    fill = _message_filler(value_field.message_type.full_name)

    def run(message: Target, value: JSON) -> None:
        if value is None:
            return
        items, given, at = getattr(message, name), _object(value), ""
        try:
            for at, item in given.items():
                fill(items[at if key is None else key(at)], item)
        except Fault as fault:
            raise fault.inside(f"[{at}]") from None
        except _REFUSALS as error:
            raise Fault(str(error), f"[{at}]") from error

    return run


def _scalar_map_filler(name: str, key: Callable[[str], JSON] | None, scalar: Callable[[JSON], JSON] | None) -> Fill:
    def run(message: Target, value: JSON) -> None:
        items = getattr(message, name)
        for at, item in _object(value or {}).items():
            items[at if key is None else key(at)] = item if scalar is None else scalar(item)

    return run


def _scalar_filler(field: FieldDescriptor) -> Fill:
    name, scalar = field.name, values.scalar(field)

    def run(message: Target, value: JSON) -> None:
        if value is not None:
            setattr(message, name, value if scalar is None else scalar(value))

    return run


def _scalars_filler(field: FieldDescriptor) -> Fill:
    name, scalar = field.name, values.scalar(field)

    def run(message: Target, value: JSON) -> None:
        if value is not None:
            getattr(message, name).extend(_list(value) if scalar is None else [scalar(item) for item in _list(value)])

    return run


def _object(value: JSON) -> JSON:
    if not isinstance(value, dict):
        raise Fault(f"want an object, not {value!r:.60}")
    return value


def _list(value: JSON) -> JSON:
    if not isinstance(value, list | tuple):
        raise Fault(f"want a list, not {value!r:.60}")
    return value


def _fill_any(message: Target, value: JSON) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("@type"), str):
        raise Fault(f'want an object with "@type", not {value!r:.60}')
    url = value["@type"]
    shape = _shape(url.removeprefix(_PREFIX))
    well_known = values.WELL_KNOWN.get(shape.name)
    if well_known is not None:  # ProtoJSON: a type with a form of its own stands beside "@type" as "value"
        inner = shape.build_of(value.get("value"), well_known)
    else:
        inner = shape.build({key: item for key, item in value.items() if key != "@type"})
    message.type_url = url
    message.value = inner.SerializeToString(deterministic=True)
