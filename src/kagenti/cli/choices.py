"""The choices of the command line, and the options that several commands offer, in one wording."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from kagenti import __version__
from kagenti.core.installation import Installation


class Mode(StrEnum):
    """What triggers injection."""

    label = "label"
    cr = "cr"
    both = "both"


class Target(StrEnum):
    """What the webhook mutates."""

    pods = "pods"
    workloads = "workloads"


class Consistency(StrEnum):
    """Whether an index miss is asked about at the API server."""

    strict = "strict"
    cached = "cached"


class Output(StrEnum):
    """How a result is printed."""

    table = "table"
    json = "json"
    yaml = "yaml"


class ReportForm(StrEnum):
    """How a report is printed: as a result, or to be kept."""

    table = "table"
    json = "json"
    yaml = "yaml"
    markdown = "markdown"


class Era(StrEnum):
    """Generations of the old webhook; the guide says which version is which."""

    E1a = "E1a"
    E1b = "E1b"
    E1c = "E1c"
    E2a = "E2a"
    E2b = "E2b"
    E3 = "E3"
    E4 = "E4"
    E5 = "E5"


class Way(StrEnum):
    """Which trigger replaces the other."""

    cr = "cr"
    label = "label"


class Exchanger(StrEnum):
    """Who exchanges tokens from now on."""

    AuthBridge = "AuthBridge"
    Envoy = "Envoy"


# The chart's own defaults.
RELEASE_NAMESPACE: Final = "kagenti-system"
CLUSTER_DOMAIN: Final = "cluster.local"
ENROLLED: Final = "kagenti.io/enrolled=true"
_READ: Final = "; unless given, that of the cluster that is read, else"

Files = Annotated[list[str], typer.Option("--filename", "-f", help="File, or - for standard input; repeatable.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of objects that name none.")]
# None: nobody said; a cluster that is read tells, else the chart's defaults hold.
TriggerMode = Annotated[
    Mode | None,
    typer.Option("--mode", envvar="KAGENTI_TRIGGER_MODE", help=f"Trigger mode of the installation{_READ} both."),
]
MutationTarget = Annotated[
    Target | None,
    typer.Option("--target", envvar="KAGENTI_TARGET", help=f"What the installation's webhook mutates{_READ} pods."),
]
Enrolled = Annotated[bool, typer.Option(help="Whether namespaces are enrolled of which nothing is known.")]
NamespaceSelector = Annotated[
    str, typer.Option(envvar="KAGENTI_NAMESPACE_SELECTOR", help="Which namespaces the cr entry covers.")
]
CoveredNamespaces = Annotated[
    str | None,
    typer.Option(
        "--namespace-selector",
        envvar="KAGENTI_NAMESPACE_SELECTOR",
        help=f"Which namespaces the cr entry covers{_READ} {ENROLLED}.",
    ),
]
Kubeconfig = Annotated[str, typer.Option(envvar="KUBECONFIG", help="Path of the kubeconfig.")]
ClusterDomain = Annotated[str, typer.Option(envvar="KAGENTI_CLUSTER_DOMAIN", help="DNS domain of the cluster.")]
ReleaseNamespace = Annotated[
    str, typer.Option(envvar="KAGENTI_RELEASE_NAMESPACE", help="Namespace of the installation.")
]
ReleasedIn = Annotated[
    str | None,
    typer.Option(
        "--release-namespace",
        envvar="KAGENTI_RELEASE_NAMESPACE",
        help=f"Namespace of the installation{_READ} {RELEASE_NAMESPACE}.",
    ),
]


def installation(release_namespace: str, cluster_domain: str, namespace_selector: str) -> Installation:
    """Returns the installation that these options speak of."""
    return Installation(
        release_namespace=release_namespace,
        cluster_domain=cluster_domain,
        xds_host=f"kagenti-xds.{release_namespace}.svc",
        version=__version__,
        namespace_selector=namespace_selector,
    )
