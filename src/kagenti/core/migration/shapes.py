"""The types of old files and objects as far as they are read: what the old programs refused becomes one sentence, not a crash.

Source: reference authbridge-contract sections 3.1, 3.6 and 6.7. Unknown fields are not looked at.
"""

from typing import Any

import msgspec

from kagenti.core.admission.shape import fault_of

JSON = Any  # a value of a file, or a part of a raw object


class _Resources(msgspec.Struct):
    listeners: list[dict[str, JSON]] | None = None
    clusters: list[dict[str, JSON]] | None = None


class _Envoy(msgspec.Struct):
    static_resources: _Resources | None = None


class _Plugin(msgspec.Struct):
    name: str
    config: dict[str, JSON] | None = None


class _Plugins(msgspec.Struct):
    plugins: list[str | _Plugin] | None = None


class _Pipeline(msgspec.Struct):
    inbound: _Plugins | None = None
    outbound: _Plugins | None = None


class _Runtime(msgspec.Struct):
    mode: str | None = None
    pipeline: _Pipeline | None = None
    spiffe: dict[str, JSON] | None = None


class _Service(msgspec.Struct):
    namespace: str | None = None
    path: str | None = None


class _Client(msgspec.Struct):
    service: _Service | None = None


class _Rule(msgspec.Struct):
    resources: list[str] | None = None


class _Hook(msgspec.Struct, rename="camel"):
    name: str
    client_config: _Client | None = None
    rules: list[_Rule] | None = None


class _Configuration(msgspec.Struct):
    webhooks: list[_Hook] | None = None


def fault_of_envoy(found: JSON) -> str:
    """Returns what is wrong with the types of an envoy.yaml, with the path; empty when nothing is."""
    return fault_of(found, _Envoy, "envoy.yaml")


def fault_of_runtime(found: JSON) -> str:
    """Returns what is wrong with the types of a config.yaml of the consolidated binary, with the path; empty when nothing is."""
    return fault_of(found, _Runtime, "config.yaml")


def fault_of_configuration(found: JSON) -> str:
    """Returns what is wrong with the types of a raw MutatingWebhookConfiguration, with the path; empty when nothing is."""
    return fault_of(found, _Configuration, "").removeprefix(".")
