"""The types of a pod template as far as later steps read them: what the API server has checked, checked again.

The API server decodes built-in kinds before it calls, so a fault means a caller that is none, or a file; it becomes one
sentence with the path instead of a crash in the middle of an injection. Unknown fields are not looked at.
"""

from typing import Any, Final

import msgspec

JSON = Any  # a raw pod template


class _Reference(msgspec.Struct):
    name: str | None = None


class _Variable(msgspec.Struct, gc=False):  # a pod may have thousands, all dropped at once
    name: str


class _Volume(msgspec.Struct):
    name: str


class _Port(msgspec.Struct, rename="camel"):
    name: str | None = None
    container_port: int | None = None
    protocol: str | None = None


class _Action(msgspec.Struct):
    path: str | None = None
    port: int | str | None = None
    scheme: str | None = None


class _Probe(msgspec.Struct, rename="camel"):
    http_get: _Action | None = None
    tcp_socket: _Action | None = None
    grpc: _Action | None = None


class _Handler(msgspec.Struct, rename="camel"):
    http_get: _Action | None = None


class _Lifecycle(msgspec.Struct, rename="camel"):
    post_start: _Handler | None = None
    pre_stop: _Handler | None = None


class _Capabilities(msgspec.Struct):
    add: list[str] | None = None
    drop: list[str] | None = None


class _Resources(msgspec.Struct):
    requests: dict[str, int | float | str] | None = None
    limits: dict[str, int | float | str] | None = None


class _SecurityContext(msgspec.Struct, rename="camel"):
    run_as_user: int | None = None
    run_as_group: int | None = None
    capabilities: _Capabilities | None = None
    fs_group: int | None = None  # of a pod, as the next
    supplemental_groups: list[int] | None = None


class _Container(msgspec.Struct, rename="camel"):
    name: str
    image: str | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[_Variable] | None = None
    ports: list[_Port] | None = None
    volume_mounts: list[_Reference] | None = None
    startup_probe: _Probe | None = None
    liveness_probe: _Probe | None = None
    readiness_probe: _Probe | None = None
    lifecycle: _Lifecycle | None = None
    security_context: _SecurityContext | None = None
    restart_policy: str | None = None
    resources: _Resources | None = None


class _Spec(msgspec.Struct, rename="camel"):
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    ephemeral_containers: list[_Container] | None = None
    volumes: list[_Volume] | None = None
    image_pull_secrets: list[_Reference] | None = None
    service_account_name: str | None = None
    service_account: str | None = None
    security_context: _SecurityContext | None = None
    node_selector: dict[str, str] | None = None


class _Owner(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""


class _Metadata(msgspec.Struct, rename="camel"):
    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[_Owner] | None = None


class _Template(msgspec.Struct):
    spec: _Spec
    metadata: _Metadata | None = None


_AT: Final = " - at `$"


def fault_of_template(template: JSON, path: str) -> str:
    """Returns what is wrong with the types of a pod template, with its path; empty when nothing is."""
    return fault_of(template, _Template, path)


def fault_of_metadata(metadata: JSON, path: str) -> str:
    """Returns what is wrong with the types of an object's metadata, with its path; absent metadata is right."""
    return "" if metadata is None else fault_of(metadata, _Metadata, path)


def fault_of(value: JSON, shape: type[msgspec.Struct], path: str) -> str:
    """Returns what is wrong with a value of a shape, with its path; empty when nothing is."""
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(_AT)
        return f"{path}{where.removesuffix('`')}: {what[:1].lower()}{what[1:]}"
    return ""
