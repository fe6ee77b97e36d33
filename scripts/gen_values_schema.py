"""Writes charts/kagenti/values.schema.json from the models below: what a release may set, with bounds and sentences.

``--check`` writes nothing and fails where the file has drifted. The names are a public contract from the first release on.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

TARGET = Path(__file__).resolve().parent.parent / "charts" / "kagenti" / "values.schema.json"
JSON = Any  # a JSON schema node

# Kubernetes: "Labels and Selectors", syntax of keys and values.
LabelKey = Annotated[str, Field(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class Values(BaseModel):
    """The base: camel case, nothing unknown."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Requirement(Values):
    """One expression of a label selector."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[LabelValue] = Field(default_factory=list, max_length=64)


class Selector(Values):
    """A label selector of namespaces."""

    match_labels: dict[str, LabelValue] = Field(default_factory=dict, max_length=64)
    match_expressions: list[Requirement] = Field(default_factory=list, max_length=64)


class Authority(Values):
    """CA certificates in a Secret."""

    secret_name: str = Field(
        pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$",
        description="Secret in the release's namespace; empty: none.",
    )
    key: str = Field(pattern=r"^[A-Za-z0-9._-]{1,253}$", description="Key of the PEM in it.")


class Webhook(Values):
    """The admission webhook."""

    trigger_mode: Literal["label", "cr", "both"] = Field(description="What triggers injection.")
    target: Literal["pods", "workloads"] = Field(description="What is mutated.")
    consistency: Literal["strict", "cached"] = Field(description="Whether an index miss is asked about.")
    namespace_selector: Selector = Field(description="Namespaces of the cr entry: the enrolled ones.")
    failure_policy: Literal["Fail", "Ignore"] = Field(description="What happens to pods while no webhook answers.")
    replicas: int = Field(ge=1, le=100, description="Pods of the webhook; two or more stay up through a roll-out.")
    port: int = Field(ge=1024, le=65535, description="Port that the process listens on, as non-root.")
    concurrency: int = Field(ge=1, le=100_000, description="Reviews decided at once; more are told to retry.")
    client_ca: Authority = Field(alias="clientCA", description="Who may post reviews, beyond who can reach the port.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(description="What is logged.")
    priority_class_name: str = Field(max_length=253, description="Priority class; empty for the cluster's default.")
    resources: dict[str, Any] = Field(description="Requests and limits of the container.")


class Xds(Values):
    """The xDS server."""

    replicas: int = Field(ge=1, le=16, description="Pods of the server; status has an entry for each.")
    identity_provider_ca: Authority = Field(
        alias="identityProviderCA", description="CAs of identity providers, besides the public ones."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(description="What is logged.")
    priority_class_name: str = Field(max_length=253, description="Priority class; empty for the cluster's default.")
    resources: dict[str, Any] = Field(description="Requests and limits of the container.")


Network = Annotated[str, Field(pattern=r"^[0-9a-f.:]{2,39}/[0-9]{1,3}$")]


class Operator(Values):
    """The operator."""

    replicas: int = Field(ge=1, le=16, description="Pods of the operator; one leads.")
    pod_networks: list[Network] = Field(max_length=16, description="Where agents are asked for cards; empty: anywhere.")
    allow_restart: bool = Field(description="Whether rollout.stale: Restart is carried out; renders the right for it.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(description="What is logged.")
    priority_class_name: str = Field(max_length=253, description="Priority class; empty for the cluster's default.")
    resources: dict[str, Any] = Field(description="Requests and limits of the container.")


class WorkloadKind(Values):
    """A kind with a pod template that AgentRuntimes may target."""

    group: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", description="API group.")
    resource: str = Field(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", description="Plural resource.")


class Image(Values):
    """The one image of all processes."""

    repository: str = Field(min_length=1, max_length=255, description="Registry and repository.")
    tag: str = Field(max_length=128, description="Tag; empty for the chart's appVersion.")
    digest: str = Field(pattern=r"^(sha256:[0-9a-f]{64})?$", description="Digest; wins over the tag.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(description="When the image is pulled.")
    pull_secrets: list[Name] = Field(max_length=16, description="Secrets for pulling it.")


class IssuerRef(Values):
    """An issuer of cert-manager that exists."""

    name: Name | None = Field(default=None, description="Its name.")
    kind: Literal["Issuer", "ClusterIssuer"] | None = Field(default=None, description="Its kind.")
    group: str | None = Field(default=None, max_length=253, description="Its API group.")


class Certificates(Values):
    """The serving certificates of webhook and xDS server."""

    mode: Literal["certManager", "provided", "selfManaged"] = Field(description="Who makes the certificate.")
    secret_name: Name = Field(description="Secret of type kubernetes.io/tls.")
    xds_secret_name: Name = Field(description="Secret of the xDS server: tls.crt, tls.key, ca.crt.")
    ca_bundle: str = Field(max_length=1_000_000, description="PEM of the CA; for mode provided.")
    issuer_ref: IssuerRef = Field(description="For mode certManager: your issuer; empty makes a CA of our own.")


class Guards(Values):
    """What running pods and namespaces are guarded against."""

    enabled: bool = Field(description="Whether the policies are rendered.")
    platform_groups: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9:._@/+=-]{1,253}$")]] = Field(
        max_length=64, description="Groups that set our labels on namespaces; empty: everybody who may write them."
    )


class Rbac(Values):
    """Who may write what."""

    delegate_namespace_config: bool = Field(description="Whether admin of a namespace writes its AgentRuntimeConfig.")


class Monitoring(Values):
    """What Prometheus and Grafana are given; all off by default."""

    service_monitor: bool = Field(description="Whether ServiceMonitors are rendered.")
    prometheus_rule: bool = Field(description="Whether the alerts are rendered.")
    dashboard: bool = Field(description="Whether the Grafana dashboard is rendered, the chart's only ConfigMap.")
    interval: str = Field(pattern=r"^[1-9][0-9]{0,5}(s|m|h)$", description="Time between two scrapes.")
    labels: dict[str, LabelValue] = Field(max_length=64, description="Labels of ServiceMonitors and rules.")
    dashboard_labels: dict[str, LabelValue] = Field(max_length=64, description="Labels of the dashboard.")


class Hooks(Values):
    """What helm runs besides installing."""

    enabled: bool = Field(description="Whether helm test and the step before helm uninstall are rendered.")


class Chart(Values):
    """Values of kagenti."""

    webhook: Webhook
    operator: Operator
    extra_workload_kinds: list[WorkloadKind] = Field(
        max_length=64, description="Further kinds of workloads that the operator may read."
    )
    xds: Xds
    image: Image
    certificates: Certificates
    cluster_domain: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", description="The cluster's DNS domain."
    )
    cluster_config: dict[str, Any] = Field(description="Spec of AgentRuntimeClusterConfig default; empty renders none.")
    guards: Guards
    rbac: Rbac
    hooks: Hooks
    monitoring: Monitoring
    global_: dict[str, Any] = Field(default_factory=dict, alias="global", description="Helm's own; not read.")


def schema() -> JSON:
    """Returns the schema: no references (older tools), nothing required (helm merges over values.yaml)."""
    raw = Chart.model_json_schema(by_alias=True)
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of kagenti"}
    return {**head, **_plain(raw, raw.pop("$defs"))}


def _plain(node: JSON, definitions: JSON, *, item: bool = False) -> JSON:
    """Returns a node with its references resolved; only an item of a list keeps what it requires."""
    if "$ref" in node:
        siblings = {key: value for key, value in node.items() if key != "$ref"}
        return {**_plain(definitions[node["$ref"].rpartition("/")[2]], definitions, item=item), **siblings}
    if "anyOf" in node:
        (chosen,) = [option for option in node["anyOf"] if option.get("type") != "null"]
        return _plain({**_without(node, "anyOf"), **chosen}, definitions)
    plain = _without(node, "default", "title", *(() if item else ("required",)))
    if "properties" in plain:
        plain["properties"] = {name: _plain(child, definitions) for name, child in plain["properties"].items()}
    if "items" in plain:
        plain["items"] = _plain(plain["items"], definitions, item=True)
    if isinstance(plain.get("additionalProperties"), dict):
        plain["additionalProperties"] = _plain(plain["additionalProperties"], definitions)
    return plain


def _without(node: JSON, *keys: str) -> JSON:
    return {key: value for key, value in node.items() if key not in keys}


def main() -> int:
    """Writes or checks the file; returns 1 on drift."""
    text = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    if "--check" in sys.argv[1:]:
        print("gen_values_schema: charts/kagenti/values.schema.json has drifted; run make crds and commit the result")
        return 1
    TARGET.write_text(text)
    print("gen_values_schema: wrote charts/kagenti/values.schema.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
