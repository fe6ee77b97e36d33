"""Is what stands in the pod what we set? Knows what others rightly do in between, and nothing else is forgiven.

Forgiven: the API server's service-account mount, other spellings of a quantity, amounts that we left unset
(LimitRange), ``imagePullPolicy: Always`` (AlwaysPullImages), resized amounts. Webhook and drift check both ask here.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from kagenti.core.settings.resources import amount

JSON = Any  # a raw container or volume, or a part of it

_SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_KINDS: Final = ("requests", "limits")


def settled(
    ours: Mapping[str, JSON], found: Mapping[str, JSON] | None, mounts: Sequence[JSON], *, as_configured: bool
) -> Mapping[str, JSON]:
    """Returns a container of ours as it is to stand in the pod; ``found`` itself where that is right already.

    ``as_configured`` says that the pod was injected with the image policy and resources that are configured now: then
    another policy or amount is somebody's rightful change, otherwise it is our own old value (docs/decisions/0008).
    """
    if found is None:
        return _with_mounts(ours, mounts)
    wanted = {**ours, **(_changed_since(found, ours) if as_configured else {})}
    if _same_container(found, wanted):
        return found
    return _with_mounts(wanted, kept_mounts(found) or mounts)


def kept_mounts(found: Mapping[str, JSON]) -> list[JSON]:
    """Returns the mounts that the API server itself added to a container."""
    return [mount for mount in found.get("volumeMounts") or () if is_service_account(mount)]


def is_service_account(mount: Mapping[str, JSON]) -> bool:
    """Whether a mount is the one of the ServiceAccount admission plugin."""
    return (
        mount.get("mountPath") == _SERVICE_ACCOUNT
        and mount.get("readOnly") is True
        and str(mount.get("name", "")).startswith("kube-api-access-")
        and "subPath" not in mount
    )


def _with_mounts(container: Mapping[str, JSON], mounts: Sequence[JSON]) -> dict[str, JSON]:
    if not mounts:
        return dict(container)
    return {**container, "volumeMounts": [*(container.get("volumeMounts") or ()), *mounts]}


def _changed_since(found: Mapping[str, JSON], ours: Mapping[str, JSON]) -> dict[str, JSON]:
    """Returns the parts of a container of ours that others may rightly change after us."""
    kept: dict[str, JSON] = {}
    if found.get("imagePullPolicy") == "Always":  # the plugin AlwaysPullImages, at every admission
        kept["imagePullPolicy"] = "Always"
    # Resize (KEP-1287) and VPA change amounts of what runs: native sidecars, never an ordinary init container.
    if ours.get("restartPolicy") == "Always" and _is_resized(found.get("resources"), ours.get("resources") or {}):
        kept["resources"] = found["resources"]
    return kept


def _is_resized(found: JSON, ours: Mapping[str, JSON]) -> bool:
    """Whether these are our resources with other amounts: none gone, each a quantity above zero, nothing else."""
    if not isinstance(found, Mapping) or set(found) - set(_KINDS):
        return False
    for kind in _KINDS:
        theirs = found.get(kind) or {}
        amounts = [_amount(theirs.get(key)) for key in ours.get(kind) or {}]
        if not all(isinstance(found, Decimal) and found > 0 for found in amounts):
            return False
    return True


def _same_container(found: Mapping[str, JSON], wanted: Mapping[str, JSON]) -> bool:
    """Whether a container is the wanted one, but for the service-account mount and the spelling of quantities."""
    own = dict(found)
    mounts = [mount for mount in own.get("volumeMounts") or () if not is_service_account(mount)]
    if mounts or "volumeMounts" in wanted:
        own["volumeMounts"] = mounts
    else:
        own.pop("volumeMounts", None)
    resources = own.pop("resources", None) or {}
    rest = {key: value for key, value in wanted.items() if key != "resources"}
    return own == rest and _same_resources(resources, wanted.get("resources") or {})


def _same_resources(found: Mapping[str, JSON], ours: Mapping[str, JSON]) -> bool:
    for kind in _KINDS:
        mine = ours.get(kind) or {}
        theirs = found.get(kind) or {}
        # An amount that we left unset may have come from a LimitRange.
        if any(_amount(theirs.get(key)) != _amount(value) for key, value in mine.items()):
            return False
    return not set(found) - set(_KINDS)


def _amount(quantity: JSON) -> Decimal | str | None:
    if quantity is None:
        return None
    found = amount(str(quantity))
    return str(quantity) if found is None else found
