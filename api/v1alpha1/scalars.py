"""The scalar types of the API with their bounds. Patterns are the common subset of Go, Rust and Python regexes."""

from typing import Annotated

from pydantic import Field

Port = Annotated[int, Field(ge=1, le=65535)]
"""TCP port."""
UserId = Annotated[int, Field(ge=1, le=2147483647)]
"""Numeric user of a container; never 0, for root would be exempt from nothing it could not undo."""
Rate = Annotated[float, Field(ge=0, le=1)]
"""Share between 0 and 1."""
Text = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""One line of text without control characters."""
LongText = Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^[^\x00-\x1f\x7f]+$")]
Audience = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00-\x20\x7f]+$")]
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
Url = Annotated[
    str,
    Field(
        min_length=8, max_length=2048, pattern=r"^https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*)?$"
    ),
]
"""An http or https URL without user information or fragment."""
Endpoint = Annotated[
    str,
    Field(
        min_length=3,
        max_length=2048,
        pattern=r"^((https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*)?)|([A-Za-z0-9.\-\[\]:]+:[0-9]{1,5}))$",
    ),
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
SettingPath = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-z][A-Za-z]*(\.[a-z][A-Za-z]*)*$")]
"""A dotted path of the layered block, for example ``identity.inbound.validation``."""
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
LabelKey = Annotated[
    str, Field(min_length=1, max_length=317, pattern=r"^([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9][-A-Za-z0-9_.]*$")
]
