"""Is what stands in the pod what we set? Knows what the API server does in between, and nothing else is forgiven."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

JSON = Any  # a raw container or volume, or a part of it

_SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_SUFFIXES: Final = {
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
}


def same_container(found: Mapping[str, JSON], ours: Mapping[str, JSON]) -> bool:
    """Whether a container is ours, but for the service-account mount and the spelling of quantities."""
    own = dict(found)
    mounts = [mount for mount in own.get("volumeMounts") or () if not is_service_account(mount)]
    if mounts or "volumeMounts" in ours:
        own["volumeMounts"] = mounts
    else:
        own.pop("volumeMounts", None)
    resources = own.pop("resources", {})
    wanted = {key: value for key, value in ours.items() if key != "resources"}
    return own == wanted and _same_resources(resources, ours.get("resources") or {})


def kept_mounts(found: Mapping[str, JSON]) -> list[JSON]:
    """Returns the mounts that the API server itself added to a container of ours."""
    return [mount for mount in found.get("volumeMounts") or () if is_service_account(mount)]


def is_service_account(mount: Mapping[str, JSON]) -> bool:
    """Whether a mount is the one of the ServiceAccount admission plugin."""
    return (
        mount.get("mountPath") == _SERVICE_ACCOUNT
        and mount.get("readOnly") is True
        and str(mount.get("name", "")).startswith("kube-api-access-")
        and "subPath" not in mount
    )


def _same_resources(found: Mapping[str, JSON], ours: Mapping[str, JSON]) -> bool:
    for kind in ("requests", "limits"):
        mine = ours.get(kind) or {}
        theirs = found.get(kind) or {}
        # An amount that we left unset may have come from a LimitRange.
        if any(_amount(theirs.get(key)) != _amount(value) for key, value in mine.items()):
            return False
    return not set(found) - {"requests", "limits"}


def _amount(quantity: JSON) -> Decimal | str | None:
    if quantity is None:
        return None
    text = str(quantity)
    suffix = next((end for end in sorted(_SUFFIXES, key=len, reverse=True) if text.endswith(end)), "")
    try:
        return Decimal(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, Decimal(1))
    except InvalidOperation:
        return text
