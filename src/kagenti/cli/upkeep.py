"""The commands that look after an installation: crds, check, images, withdraw and version."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from kagenti import __version__
from kagenti.cli.choices import (
    RELEASE_NAMESPACE,
    Kubeconfig,
    Output,
    ReleaseNamespace,
)

app = typer.Typer()


@app.command()
def crds(
    apply: Annotated[bool, typer.Option(help="Apply them to the cluster (server-side).")] = False,  # noqa: FBT002  # a flag
    kubeconfig: Kubeconfig = "",
) -> None:
    """Print the CRDs, or apply them; helm never upgrades the CRDs of a chart."""
    from kagenti.cli import definitions

    sys.exit(definitions.run(apply=apply, kubeconfig=kubeconfig))


class Purpose(StrEnum):
    """The step that a check is made before."""

    uninstall = "uninstall"
    switch = "switch"
    upgrade = "upgrade"


@app.command()
def check(
    before: Annotated[Purpose | None, typer.Option(help="Also say what to mend before that step.")] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Where the dry-run pod is asked for.")
    ] = "default",
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.table,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Say whether this installation is healthy; a dry-run pod must come back injected. Changes nothing."""
    from kagenti.cli import health

    sys.exit(health.run(namespace=namespace, release_namespace=release_namespace,
                        purpose=before.value if before is not None else "", output=output.value, kubeconfig=kubeconfig))  # fmt: skip


@app.command()
def images(
    registry: Annotated[
        str, typer.Option(help="Show their names in this mirror, as injection.imageRegistry does.")
    ] = "",
    from_cluster: Annotated[bool, typer.Option(help="Also those that layers of the cluster name.")] = False,  # noqa: FBT002  # a flag
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.table,
    kubeconfig: Kubeconfig = "",
) -> None:
    """List every image that an injected pod or the chart may use."""
    from kagenti.cli import mirroring

    sys.exit(mirroring.run(registry=registry, output=output.value, kubeconfig=kubeconfig if from_cluster else None))


@app.command()
def withdraw(
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    timeout: Annotated[float, typer.Option(help="Seconds to wait until nothing is pushed any more.")] = 90.0,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Hold the configuration of running proxies, then take admission away: what helm runs before it uninstalls."""
    from kagenti.cli import withdrawal

    sys.exit(withdrawal.run(release_namespace=release_namespace, timeout=timeout, kubeconfig=kubeconfig))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
