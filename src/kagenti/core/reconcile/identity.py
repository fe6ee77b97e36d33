"""IdentityReady and ``status.identity``: what the probes of the injected containers say; nothing that was not observed."""

from collections.abc import Sequence
from typing import Any

from kagenti.core.reconcile.conditions import Condition
from kagenti.core.reconcile.facts import Pod
from kagenti.core.settings.model import ResolvedSettings
from kagenti_api.v1alpha1 import wellknown
from kagenti_api.v1alpha1.agentruntime import (
    IDENTITY_DISABLED,
    IDENTITY_READY,
    NO_PODS,
    NOT_REGISTERED,
    PROXY_NOT_READY,
    REGISTERED,
)

JSON = Any  # a part of a status


def identity_status(resolved: ResolvedSettings, injected: Sequence[Pod]) -> JSON:
    """Returns ``status.identity``; a boolean that was not observed is left out.

    Args:
        resolved: The settings in force.
        injected: The pods that carry the sidecars.
    """
    on = resolved.flag("identity.enabled")
    proxy = _ready(injected, wellknown.ENVOY_PROXY)
    found = {
        "spiffeEnabled": on and resolved.flag("identity.spiffe.enabled"),
        "idpRegistered": _ready(injected, wellknown.CLIENT_REGISTRATION),
        "inboundProxyReady": proxy if on and resolved.flag("identity.inbound.enabled") else None,
        "outboundProxyReady": proxy if on and resolved.flag("identity.outbound.tokenExchange.enabled") else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def identity_ready(resolved: ResolvedSettings, injected: Sequence[Pod]) -> Condition:
    """Returns the condition: True when every injected pod is registered and its proxy answers."""
    if not resolved.flag("identity.enabled"):
        return Condition(IDENTITY_READY, "True", IDENTITY_DISABLED, "identity.enabled is false")
    if not injected:
        return Condition(IDENTITY_READY, "Unknown", NO_PODS, "no pod with sidecars runs yet")
    rows = (
        (wellknown.SPIFFE_HELPER, NOT_REGISTERED, "has no SVID yet"),
        (wellknown.CLIENT_REGISTRATION, NOT_REGISTERED, "is not registered at the identity provider yet"),
        (wellknown.ENVOY_PROXY, PROXY_NOT_READY, "has an Envoy without configuration"),
    )
    for name, reason, says in rows:
        for pod in injected:
            if pod.sidecars.get(name) is False:
                message = f"pod {pod.name} {says}: container {name} is not ready; its log says why"
                return Condition(IDENTITY_READY, "False", reason, message)
    return Condition(IDENTITY_READY, "True", REGISTERED, "every pod has its identity")


def _ready(injected: Sequence[Pod], container: str) -> bool | None:
    """Returns whether that container is ready in every pod that has it; None where no pod has it."""
    seen = [pod.sidecars[container] for pod in injected if container in pod.sidecars]
    return all(seen) if seen else None
