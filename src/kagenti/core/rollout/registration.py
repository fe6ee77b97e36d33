"""Our MutatingWebhookConfiguration as it stands → where the webhook answers for itself, and for which pods it is called."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from kagenti.core import settings
from kagenti.core.trigger import Mode

JSON = Any  # a raw MutatingWebhookConfiguration, or a part of it

_ENTRIES: Final[Mapping[Mode, tuple[str, ...]]] = {
    "label": ("inject-label.kagenti.io",),
    "cr": ("inject-cr.kagenti.io",),
    "both": ("inject-label.kagenti.io", "inject-cr.kagenti.io"),
}
# What of an entry decides whether it is called, and what happens where it does not answer.
_SCOPE: Final = ("rules", "namespaceSelector", "objectSelector", "matchConditions", "matchPolicy", "failurePolicy")


@dataclass(frozen=True, slots=True)
class Registration:
    """``url`` is the webhook's own readiness, ``authority`` the PEM that it has to verify against (empty: the system's).

    ``scope`` is a hash of what says for which pods the entries are called.
    """

    url: str
    authority: str
    scope: str


def registration(configuration: Mapping[str, JSON], *, mode: Mode, by_workload: bool = False) -> Registration | str:
    """Returns how the entries of that trigger mode are registered, or what is missing, as one clause.

    Args:
        configuration: The configuration, raw.
        mode: Trigger mode of the installation.
        by_workload: Whether templates are injected, not pods.
    """
    name = (configuration.get("metadata") or {}).get("name", "")
    what = f"MutatingWebhookConfiguration {name}"
    entries = {str(entry.get("name")): entry for entry in configuration.get("webhooks") or ()}
    missing = [wanted for wanted in _ENTRIES[mode] if wanted not in entries]
    if missing:
        return f'{what} has no entry "{missing[0]}", which trigger mode {mode} needs; install the chart again'
    wanted = [entries[entry] for entry in _ENTRIES[mode]]
    if not by_workload and not all(_sees_new_pods(entry) for entry in wanted):
        return f"{what} is not called for new pods, although webhook.target is pods; install the chart again"
    client = wanted[0].get("clientConfig") or {}
    url = _address(client)
    if not url:
        return f"{what} says of no address where the webhook is; install the chart again"
    try:
        authority = base64.b64decode(client.get("caBundle") or "", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return f"{what} has a caBundle that is no PEM; let the operator or cert-manager write it"
    scope = [{key: entry.get(key) for key in _SCOPE} for entry in wanted]
    return Registration(f"{url}/readyz", authority, settings.digest(scope))


def _sees_new_pods(entry: Mapping[str, JSON]) -> bool:
    rules = entry.get("rules") or ()
    return any("pods" in rule.get("resources", ()) and "CREATE" in rule.get("operations", ()) for rule in rules)


def _address(client: Mapping[str, JSON]) -> str:
    """Returns scheme, host and port, as the API server would call them (admissionregistration/v1, WebhookClientConfig)."""
    service = client.get("service")
    if isinstance(service, Mapping):
        return f"https://{service.get('name')}.{service.get('namespace')}.svc:{service.get('port') or 443}"
    found = urlsplit(str(client.get("url") or ""))
    return f"{found.scheme}://{found.netloc}" if found.scheme == "https" and found.netloc else ""
