"""Token exchange by the AuthBridge image's external processor, in place of Lua (``injection.tokenExchange``).

Source of its rules: reference authbridge-contract section 3. It reads the direction from a header, so that header is
ours: taken off outbound before the processor sees a request, set inbound. Inbound validation is Envoy's own.
"""

from typing import Final

from kagenti.core.envoy import layout
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proto import assignment, extension, http_options, socket
from kagenti.core.settings.model import ResolvedSettings

_EXT_PROC: Final = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
_STREAM: Final = "300s"  # reference section 3.2: 30 s cuts streams of language models
_ANSWER: Final = "10s"  # one call to the identity provider; 200 ms otherwise


def bridged(settings: ResolvedSettings) -> bool:
    """Whether the AuthBridge image exchanges tokens in this pod."""
    return settings.text("injection.tokenExchange") == "AuthBridge"


def ext_proc() -> JSON:
    """Returns the outbound HTTP filter; it fails closed while the processor does not answer."""
    mode = {
        "request_header_mode": "SEND",
        "response_header_mode": "SKIP",
        "request_body_mode": "NONE",
        "response_body_mode": "NONE",
        "request_trailer_mode": "SKIP",
        "response_trailer_mode": "SKIP",
    }
    service = {"envoy_grpc": {"cluster_name": layout.EXT_PROC_CLUSTER}, "timeout": _STREAM}
    return extension(layout.EXT_PROC, _EXT_PROC, grpc_service=service, processing_mode=mode, message_timeout=_ANSWER)


def cluster() -> JSON:
    """Returns the processor's static cluster."""
    name = layout.EXT_PROC_CLUSTER
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": assignment(name, socket("127.0.0.1", layout.PROCESSOR_PORT)),
        "typed_extension_protocol_options": http_options(explicit_http_config={"http2_protocol_options": {}}),
    }
