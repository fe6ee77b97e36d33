"""The eras of the old webhook, as one table: which objects it read, what its labels meant, whom it mutated.

Source: reference authbridge-contract sections 0.2, 6.3, 7 and 8.1. A cell is a choice of that era, not of ours.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

JSON = Any  # a raw manifest

InjectLabel = Literal["forces", "required", "optsOut"]
"""What ``kagenti.io/inject`` meant: ``enabled`` forced and all else opted out; ``enabled`` was required; only ``disabled`` counted."""

Registration = Literal["optsOut", "optsIn", "operator"]
"""Who registered the client: the sidecar unless ``"false"``, the sidecar only with ``"true"``, or the operator."""


@dataclass(frozen=True, slots=True)
class Era:
    """One generation of the old webhook.

    ``gates`` and ``platform`` name its two ConfigMaps, empty where it had none. ``spire_by_label``: SPIRE only with
    ``kagenti.io/spire: enabled``. ``sidecars_matter``: ``sidecars.*.enabled`` was still the lowest layer. ``consolidated``:
    one container of the proxy images in place of four. ``tools_by_gate``: a tool needed the gate ``injectTools``.
    ``reads_environments``: the ConfigMap of that name beside authbridge-config.
    ``by_replica_set``: a Deployment's pods were called by their ReplicaSet. ``prefix`` is that of its labels.
    """

    name: str
    versions: str
    namespace: str
    target: Literal["workloads", "pods"]
    inject: InjectLabel
    registration: Registration
    gates: str = ""
    platform: str = ""
    namespace_label: str = "kagenti-enabled"
    prefix: str = "kagenti.io/"
    spire_by_label: bool = False
    sidecars_matter: bool = False
    consolidated: bool = False
    by_replica_set: bool = False
    tools_by_gate: bool = True
    reads_environments: bool = False
    configuration: str = "kagenti-webhook-authbridge-mutating-webhook-configuration"

    def label(self, name: str) -> str:
        """Returns the key of one of its labels."""
        return f"{self.prefix}{name}"


_WEBHOOK: Final = "kagenti-webhook-system"
_E1: Final = {
    "namespace": _WEBHOOK,
    "target": "workloads",
    "registration": "optsOut",
    "tools_by_gate": False,
    "reads_environments": True,
}
_E2: Final = {
    "namespace": _WEBHOOK,
    "target": "pods",
    "inject": "optsOut",
    "gates": "kagenti-webhook-feature-gates",
    "platform": "kagenti-webhook-defaults",
    "by_replica_set": True,
}
_E3: Final = {
    "namespace": "kagenti-system",
    "target": "pods",
    "inject": "optsOut",
    "registration": "operator",
    "gates": "kagenti-feature-gates",
    "platform": "kagenti-platform-config",
}

ERAS: Final[Mapping[str, Era]] = {
    era.name: era
    for era in (
        Era("E1a", "up to v0.4.0-alpha.3", inject="forces", spire_by_label=True, sidecars_matter=True, **_E1),  # type: ignore[arg-type]  # rows share cells
        Era("E1b", "v0.4.0-alpha.4 and .5", inject="forces", sidecars_matter=True, **_E1),  # type: ignore[arg-type]  # as above
        Era("E1c", "v0.4.0-alpha.6 (the design)", inject="required", **_E1),  # type: ignore[arg-type]  # as above
        Era("E2a", "v0.4.0-alpha.7 to .9", registration="optsOut", reads_environments=True, **_E2),  # type: ignore[arg-type]  # as above
        Era("E2b", "v0.4.0-alpha.10 to .13", registration="optsIn", **_E2),  # type: ignore[arg-type]  # as above
        Era("E3", "operator, v0.5.0 images", **_E3),  # type: ignore[arg-type]  # as above
        Era("E4", "operator, v0.6.0 images", consolidated=True, **_E3),  # type: ignore[arg-type]  # as above
        Era(
            "E5",
            "renamed to Rossoctl, v0.7.0 images",
            namespace="rossoctl-system",
            target="pods",
            inject="optsOut",
            registration="operator",
            gates="rossoctl-feature-gates",
            platform="rossoctl-platform-config",
            namespace_label="rossoctl-enabled",
            prefix="rossoctl.io/",
            consolidated=True,
        ),
    )
}
"""Every era by its name, oldest first."""

PAIRS: Final = tuple(dict.fromkeys((era.namespace, era.gates, era.platform) for era in ERAS.values() if era.gates))
"""Namespace and names of the two cluster-wide ConfigMaps, oldest first."""

NAMESPACE_MAPS: Final = (
    "authbridge-config",
    "authproxy-routes",
    "spiffe-helper-config",
    "envoy-config",
    "authbridge-runtime-config",
    "environments",
)
"""Names of the ConfigMaps of an agent namespace."""


@dataclass(frozen=True, slots=True)
class Detected:
    """The era that the objects show, and by what."""

    era: Era
    why: str


def detect(config_maps: Iterable[JSON], configurations: Iterable[JSON]) -> Detected:
    """Returns the era of an installation from its raw ConfigMaps and MutatingWebhookConfigurations.

    Where both pairs of maps exist, the one in the running webhook's namespace counts, else the newer (section 6.3).
    """
    maps = [found for found in config_maps if isinstance(found.get("metadata"), Mapping)]
    present = {(found["metadata"].get("namespace"), found["metadata"].get("name")): found for found in maps}
    serving = {
        ((hook.get("clientConfig") or {}).get("service") or {}).get("namespace")
        for found in configurations
        for hook in found.get("webhooks") or ()
    }
    pairs = [pair for pair in PAIRS if any((pair[0], name) in present for name in pair[1:])]
    running = [pair for pair in pairs if pair[0] in serving] or pairs
    if running:
        namespace, gates, platform = running[-1]
        text = "".join(str((present.get((namespace, name)) or {}).get("data") or "") for name in (gates, platform))
        return _of_pair(namespace, text, runtime=any(name == "authbridge-runtime-config" for _, name in present))
    return _without_maps(configurations)


_PATH: Final = "/mutate-workloads-authbridge"


def is_old_webhook(configuration: JSON) -> bool:
    """Whether a raw MutatingWebhookConfiguration is an old webhook's: by its own name, or by what it calls (section 6.7).

    Where the operator serves the webhook, from E3 on, the object may be called otherwise.
    """
    if configuration["metadata"].get("name") in _CONFIGURATIONS:
        return True
    services = [(hook.get("clientConfig") or {}).get("service") or {} for hook in configuration.get("webhooks") or ()]
    return any(service.get("path") == _PATH for service in services)


_CONFIGURATIONS: Final = frozenset(era.configuration for era in ERAS.values())


def _of_pair(namespace: str, text: str, *, runtime: bool) -> Detected:
    if namespace == "rossoctl-system":
        return Detected(ERAS["E5"], "the maps are in rossoctl-system")
    if namespace == "kagenti-system":
        sign = next((word for word in _CONSOLIDATED if word in text), "")
        sign = sign or ("authbridge-runtime-config" if runtime else "")
        if sign:
            return Detected(ERAS["E4"], f"the maps are in kagenti-system, and there is {sign}")
        return Detected(ERAS["E3"], "the maps are in kagenti-system")
    late = next((word for word in _LATE if word in text), "")
    if late:
        return Detected(ERAS["E2b"], f"the maps are in {_WEBHOOK}, and name {late}")
    return Detected(ERAS["E2a"], f"the maps are in {_WEBHOOK}, and name nothing of v0.4.0-alpha.10 or later")


_CONSOLIDATED: Final = (
    *("authbridgeLite", "transparentPort", "skillDiscovery", "iptablesCmd", "allowedEgressEnforcement"),
    *("v0.6.0", "v0.7.0"),
)
_LATE: Final = (*(f"v0.4.0-alpha.{number}" for number in (10, 11, 12, 13)), "v0.5.0", "authbridge:", "combinedSidecar")


def _without_maps(configurations: Iterable[JSON]) -> Detected:
    """Without maps the webhook's rules tell: workloads up to alpha.6, pods after (section 6.7)."""
    for found in configurations:
        for hook in found.get("webhooks") or ():
            resources = {name for rule in hook.get("rules") or () for name in rule.get("resources") or ()}
            if "pods" in resources:
                return Detected(ERAS["E2a"], "its webhook mutates pods, and there are no maps of it")
            if "deployments" in resources:
                return Detected(ERAS["E1c"], "its webhook mutates workloads, and there are no maps of it")
    return Detected(ERAS["E1c"], "there are no maps of it; say --era where it is another")
