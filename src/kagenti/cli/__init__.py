"""The command ``kagenti``: arguments and environment in, processes wired, exit codes out; decides nothing.

Exit codes: 0 ok, 1 findings, 2 input error, 3 cluster error, 70 defect. Imports of what a command needs stand inside the
command: ``kagenti --help`` must not wait for them.
"""

import gc
import os
import sys
from typing import Annotated, Final

import typer

from kagenti import errors
from kagenti.cli import migrate, processes, upkeep
from kagenti.cli.choices import (
    CLUSTER_DOMAIN,
    ClusterDomain,
    CoveredNamespaces,
    Enrolled,
    Files,
    Kubeconfig,
    MutationTarget,
    Namespace,
    Output,
    ReleasedIn,
    TriggerMode,
)

OK, FINDINGS, INPUT_ERROR, CLUSTER_ERROR, DEFECT = 0, 1, 2, 3, 70
EXIT_CODES: Final = {errors.InputError: INPUT_ERROR, errors.ClusterError: CLUSTER_ERROR, errors.Defect: DEFECT}
"""Exit code of each branch of the error tree."""

# A command lives for half a second, of which the default's collections take a tenth; the processes set their own.
GC_THRESHOLDS: Final = (100_000, 50, 100)

app = typer.Typer(name="kagenti", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  rich_markup_mode=None, help=(
    "Identity, token exchange and observability for AI-agent workloads. "
    "Exit codes: 0 ok, 1 findings, 2 input error, 3 cluster error, 70 defect."
))  # fmt: skip


@app.command()
def inject(
    filename: Files,
    namespace: Namespace = "default",
    mode: TriggerMode = None,
    target: MutationTarget = None,
    enrolled: Enrolled = True,  # noqa: FBT002  # a flag
    namespace_selector: CoveredNamespaces = None,
    release_namespace: ReleasedIn = None,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    from_cluster: Annotated[bool, typer.Option(help="Apply the files to what the cluster holds.")] = False,  # noqa: FBT002  # a flag
    now: Annotated[str, typer.Option(help="Time of the injection, RFC 3339.")] = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Inject the workloads of manifests, exactly as the webhook would; prints the result, or nothing if one is denied."""
    from kagenti.cli import offline, setup

    about = setup.asked(
        mode, target, namespace_selector, release_namespace, cluster_domain=cluster_domain, enrolled=enrolled
    )
    cluster = kubeconfig if from_cluster else None
    sys.exit(offline.inject(filename, namespace=namespace, setup=about, now=now, kubeconfig=cluster))


@app.command()
def uninject(filename: Files, namespace: Namespace = "default") -> None:
    """Take away what injection added; prints the result."""
    from kagenti.cli import offline

    sys.exit(offline.uninject(filename, namespace=namespace))


@app.command()
def explain(
    workload: Annotated[str, typer.Argument(help="KIND/NAME (deploy/weather-agent, po/…) or KIND.GROUP/NAME.")],
    namespace: Namespace = "default",
    filename: Annotated[
        list[str] | None, typer.Option("--filename", "-f", help="Read files instead of the cluster.")
    ] = None,
    mode: TriggerMode = None,
    target: MutationTarget = None,
    enrolled: Enrolled = True,  # noqa: FBT002  # a flag
    namespace_selector: CoveredNamespaces = None,
    release_namespace: ReleasedIn = None,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.table,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Say why a workload is (not) injected, and where each of its settings comes from."""
    from kagenti.cli import explanation, setup

    about = setup.asked(
        mode, target, namespace_selector, release_namespace, cluster_domain=cluster_domain, enrolled=enrolled
    )
    sys.exit(explanation.run(workload, namespace=namespace, files=filename or [], setup=about, output=output.value,
                            kubeconfig=kubeconfig))  # fmt: skip


@app.command()
def diff(
    filename: Files,
    namespace: Namespace = "default",
    mode: TriggerMode = None,
    target: MutationTarget = None,
    namespace_selector: CoveredNamespaces = None,
    release_namespace: ReleasedIn = None,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.table,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Say which workloads and settings would change if these layers were applied; exit code 1 if any would."""
    from kagenti.cli import difference, setup

    about = setup.asked(  # enrolled: the files may create an enrolled namespace
        mode, target, namespace_selector, release_namespace, cluster_domain=cluster_domain, enrolled=True
    )
    sys.exit(difference.run(filename, namespace=namespace, setup=about, output=output.value, kubeconfig=kubeconfig))


@app.command()
def status(
    workload: Annotated[str, typer.Argument(help="KIND/NAME; without it, every workload that is ours.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Only this one; else all.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Print again whenever something changes.")] = False,  # noqa: FBT002  # a flag
    mode: TriggerMode = None,
    target: MutationTarget = None,
    namespace_selector: CoveredNamespaces = None,
    release_namespace: ReleasedIn = None,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.table,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Say which pods are current, stale or bare, and which proxies took their configuration; 1 if something is amiss."""
    from kagenti.cli import setup, standing

    about = setup.asked(  # not enrolled: the cluster says what is
        mode, target, namespace_selector, release_namespace, cluster_domain=cluster_domain, enrolled=False
    )
    asked = standing.Asked(workload, namespace, output.value, kubeconfig)
    sys.exit(standing.watch(asked, about) if watch else standing.run(asked, about))


@app.command()
def analyze(
    filename: Annotated[
        list[str] | None, typer.Option("--filename", "-f", help="Read files instead of the cluster.")
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Only this one; else all.")] = "",
    mode: TriggerMode = None,
    target: MutationTarget = None,
    enrolled: Enrolled = True,  # noqa: FBT002  # a flag
    namespace_selector: CoveredNamespaces = None,
    release_namespace: ReleasedIn = None,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.table,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Find what is misplaced, refused, contradictory or out of date in files or a cluster; 1 if anything is."""
    from kagenti.cli import analysis, setup

    about = setup.asked(
        mode, target, namespace_selector, release_namespace, cluster_domain=cluster_domain, enrolled=enrolled
    )
    sys.exit(analysis.run(filename or [], namespace=namespace, setup=about, output=output.value, kubeconfig=kubeconfig))


app.add_typer(migrate.app, name="migrate")
for commands in (upkeep.app, processes.app):
    app.add_typer(commands)


def main() -> None:
    """Runs the command line; every error ends in one line and its exit code."""
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        app()
    except errors.KagentiError as problem:
        sys.stderr.write(f"kagenti: {problem}\n")
        sys.exit(exit_code(problem))
    except BrokenPipeError:
        sys.exit(OK)
    except Exception as problem:  # the last line of defence: a defect is said as one
        sys.stderr.write(f"kagenti: defect: {type(problem).__name__}: {problem}; KAGENTI_DEBUG=1 shows where\n")
        if os.environ.get("KAGENTI_DEBUG"):
            import traceback

            traceback.print_exc()
        sys.exit(DEFECT)


def exit_code(problem: errors.KagentiError) -> int:
    """Returns the exit code of an error by its branch of the tree."""
    return next((code for branch, code in EXIT_CODES.items() if isinstance(problem, branch)), DEFECT)
