"""What is installed, read back from the MutatingWebhookConfiguration that the chart renders: the inverse of its template."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from kagenti.core.trigger.coverage import Mode
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw configuration or a part of it

Target = Literal["pods", "workloads"]
INJECTOR: Final = "kagenti-injector"
"""Name of the MutatingWebhookConfiguration."""
VALIDATOR: Final = "kagenti-validator"
"""Name of the ValidatingWebhookConfiguration."""

_LABEL: Final = "inject-label"
_CR: Final = "inject-cr"
_OF_NAME: Final = "kubernetes.io/metadata.name"


def mode(injector: JSON) -> Mode | None:
    """Returns the trigger mode that the entries stand for; None without an entry of ours, which somebody else's is."""
    names = {_short(entry) for entry in _entries(injector)}
    label, cr = _LABEL in names, _CR in names
    return "both" if label and cr else "label" if label else "cr" if cr else None


def target(injector: JSON) -> Target:
    """Returns what the entries mutate; ``pods`` where there is no configuration."""
    resources = {name for entry in _entries(injector) for rule in entry.get("rules") or () for name in _resources(rule)}
    return "workloads" if "deployments" in resources else "pods"


def release_namespace(injector: JSON) -> str:
    """Returns the namespace of the Service that is called; empty where there is none."""
    services = ((entry.get("clientConfig") or {}).get("service") or {} for entry in _entries(injector))
    return next((str(found["namespace"]) for found in services if found.get("namespace")), "")


def namespace_selector(injector: JSON) -> str | None:
    """Returns ``webhook.namespaceSelector`` in kubectl's selector syntax; None without an entry that has one.

    What the chart adds to it, the namespaces that no entry covers, is left out.
    """
    found = next((entry.get("namespaceSelector") or {} for entry in _entries(injector) if _short(entry) == _CR), None)
    if found is None:
        return None
    labels = [f"{key}={value}" for key, value in (found.get("matchLabels") or {}).items()]
    expressions = list(found.get("matchExpressions") or ())
    for added in _ADDED:  # the chart writes its own first; one of the values may look like it
        if expressions and added(expressions[0]):
            del expressions[0]
    return ",".join([*labels, *map(_written, expressions)])


def _entries(injector: JSON) -> Iterator[Mapping[str, JSON]]:
    yield from (injector or {}).get("webhooks") or ()


def _short(entry: Mapping[str, JSON]) -> str:
    return str(entry.get("name", "")).partition(".")[0]


def _resources(rule: Mapping[str, JSON]) -> list[str]:
    return rule.get("resources") or []


def _leaves_out_system(expression: Mapping[str, JSON]) -> bool:
    named = (expression.get("key"), expression.get("operator")) == (_OF_NAME, "NotIn")
    return named and set(expression.get("values") or ()).issuperset(wellknown.SYSTEM_NAMESPACES)


def _leaves_out_open_doors(expression: Mapping[str, JSON]) -> bool:
    return (expression.get("key"), expression.get("operator")) == (wellknown.BREAK_GLASS_LABEL, "DoesNotExist")


_ADDED: Final = (_leaves_out_system, _leaves_out_open_doors)


def _written(expression: Mapping[str, JSON]) -> str:
    key, operator = expression["key"], expression["operator"]
    if operator in ("In", "NotIn"):
        return f"{key} {operator.lower()} ({','.join(expression.get('values') or ())})"
    return f"!{key}" if operator == "DoesNotExist" else str(key)
