"""The scalar types of the API with their bounds. Patterns are the common subset of Go, Rust and Python regexes.

Every pattern is anchored at both ends. Python's ``$`` also matches before a final newline: check with ``fullmatch``.
"""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field


def _whole(value: Any) -> Any:  # Any: pydantic hands over the undecoded input
    """Returns 8080 for 8080.0, which JSON Schema and the API server take for an integer too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE: Final = BeforeValidator(_whole)
# Control characters of both Latin blocks, and the line separators of Unicode, which Go can only name literally.
_CONTROL: Final = "\\x00-\\x1f\\x7f-\\x9f\u2028\u2029"
_PORT: Final = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_LABEL: Final = "[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?"
_HOST: Final = rf"({_LABEL}(\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])"
_PATH: Final = r"(/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*)?"
_QUERY: Final = r"(/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*)?"

Port = Annotated[int, Field(ge=1, le=65535), _WHOLE]
"""TCP port."""
Count = Annotated[int, Field(ge=0), _WHOLE]
"""How many of something."""
UserId = Annotated[int, Field(ge=1, le=2147483647), _WHOLE]
"""Numeric user of a container; never 0, for root would be exempt from nothing it could not undo."""
Rate = Annotated[float, Field(ge=0, le=1)]
"""Share between 0 and 1."""
Text = Annotated[str, Field(min_length=1, max_length=253, pattern=f"^[^{_CONTROL}]+$")]
"""One line of text without control characters and line separators."""
LongText = Annotated[str, Field(min_length=1, max_length=2048, pattern=f"^[^{_CONTROL}]+$")]
Audience = Annotated[str, Field(min_length=1, max_length=512, pattern=rf"^[^\x20\xa0{_CONTROL}]+$")]
"""A token audience: one word (RFC 7519 section 4.1.3)."""
Scope = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")]
"""A scope token (RFC 6749 section 3.3)."""
DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
DnsName = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
]
"""A lower-case DNS name (RFC 1123); also the name of a Secret."""
HostPattern = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
"""An exact host name, or ``*.suffix``."""
Url = Annotated[str, Field(min_length=8, max_length=2048, pattern=rf"^https?://{_HOST}(:{_PORT})?{_QUERY}$")]
"""An http or https URL without user information or fragment: a name or a bracketed IPv6 address, at most one port."""
Endpoint = Annotated[
    str,
    Field(min_length=3, max_length=2048, pattern=rf"^(https?://{_HOST}(:{_PORT})?{_PATH}|{_HOST}:{_PORT})$"),
]
"""``host:port`` or an http(s) URL."""
Image = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._:/@\-]*$")]
RegistryPrefix = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._:/\-]*$")]
Quantity = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
"""A Kubernetes resource quantity, as a string."""
Duration = Annotated[str, Field(min_length=2, max_length=32, pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$")]
"""A Go-style duration such as ``30s``."""
HttpPath = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^/[A-Za-z0-9\-._~!$&'()+,;=:@%/]*$")]
BypassPath = Annotated[
    str,
    Field(min_length=2, max_length=253, pattern=r"^(/[A-Za-z0-9\-._~!$&'()+,;=:@%]+)+(/\*)?$"),
]
"""An exact path, or a path with a trailing ``/*`` for one plain segment; ``/`` and ``/*`` are refused."""
SocketPath = Annotated[str, Field(min_length=8, max_length=253, pattern=r"^unix:///[A-Za-z0-9._/\-]+$")]
NameTemplate = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^([A-Za-z0-9._~/:@+$\-]|\{\{\.(Namespace|WorkloadName|WorkloadKind|PodName)\}\})+$",
    ),
]
"""A closed placeholder grammar: plain characters and the four placeholders, nothing else."""
ApiVersion = Annotated[str, Field(min_length=1, max_length=317, pattern=r"^([a-z0-9][-a-z0-9.]*/)?v[0-9][a-z0-9]*$")]
"""Group and version of a kind, for example ``apps/v1``."""
KindName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Z][A-Za-z0-9]*$")]
"""A kind, for example ``Deployment``."""
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
LabelKey = Annotated[
    str, Field(min_length=1, max_length=317, pattern=r"^([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9][-A-Za-z0-9_.]*$")
]
