"""A refusal: why a pod is not injected and therefore not admitted; the codes of spec 04."""

from dataclasses import dataclass
from typing import Final

PROXY_UID: Final = "ProxyUid"
PORT_COLLISION: Final = "PortCollision"
RESERVED_NAME: Final = "ReservedName"
INVALID_VALUE: Final = "InvalidValue"
POD_SECURITY: Final = "PodSecurity"
INTERCEPTION_NOT_ENFORCED: Final = "InterceptionNotEnforced"
FOREIGN_INTERCEPTOR: Final = "ForeignInterceptor"
TOO_LARGE: Final = "TooLarge"
LAYOUT_UNSUPPORTED: Final = "LayoutUnsupported"

REASONS: Final = (
    PROXY_UID,
    PORT_COLLISION,
    RESERVED_NAME,
    INVALID_VALUE,
    POD_SECURITY,
    INTERCEPTION_NOT_ENFORCED,
    FOREIGN_INTERCEPTOR,
    TOO_LARGE,
    LAYOUT_UNSUPPORTED,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pod is refused: a reason code, a sentence that says what to do, and the field at fault."""

    reason: str
    message: str
    field: str
