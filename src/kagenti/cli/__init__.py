"""The command ``kagenti``: arguments and environment in, processes wired, exit codes out; decides nothing.

Exit codes: 0 ok, 1 findings, 2 input error, 3 cluster error, 70 defect. Imports of what a command needs stand inside the
command: ``kagenti --help`` must not wait for them.
"""

import gc
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from kagenti import __version__, errors
from kagenti.cli import migrate
from kagenti.cli.choices import (
    CLUSTER_DOMAIN,
    RELEASE_NAMESPACE,
    ClusterDomain,
    Consistency,
    Kubeconfig,
    Mode,
    Output,
    ReleaseNamespace,
    Target,
)
from kagenti.core.installation import Installation

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

app.add_typer(migrate.app, name="migrate")

Files = Annotated[list[str], typer.Option("--filename", "-f", help="File, or - for standard input; repeatable.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of objects that name none.")]
TriggerMode = Annotated[
    Mode, typer.Option("--mode", envvar="KAGENTI_TRIGGER_MODE", help="Trigger mode of the installation.")
]

MutationTarget = Annotated[
    Target, typer.Option("--target", envvar="KAGENTI_TARGET", help="What the installation's webhook mutates.")
]
Enrolled = Annotated[bool, typer.Option(help="Whether namespaces are enrolled of which nothing is known.")]
NamespaceSelector = Annotated[
    str, typer.Option(envvar="KAGENTI_NAMESPACE_SELECTOR", help="Which namespaces the cr entry covers.")
]

ENROLLED: Final = "kagenti.io/enrolled=true"


@app.command()
def inject(
    filename: Files,
    namespace: Namespace = "default",
    mode: TriggerMode = Mode.both,
    target: MutationTarget = Target.pods,
    enrolled: Enrolled = True,  # noqa: FBT002  # a flag
    namespace_selector: NamespaceSelector = ENROLLED,
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    from_cluster: Annotated[bool, typer.Option(help="Apply the files to what the cluster holds.")] = False,  # noqa: FBT002  # a flag
    now: Annotated[str, typer.Option(help="Time of the injection, RFC 3339.")] = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Inject the workloads of manifests, exactly as the webhook would; prints the result, or nothing if one is denied."""
    from kagenti.cli import offline
    from kagenti.cli.evaluation import Setup

    installation = _installation(release_namespace, cluster_domain, namespace_selector)
    setup = Setup(mode.value, target.value, enrolled, installation)
    cluster = kubeconfig if from_cluster else None
    sys.exit(offline.inject(filename, namespace=namespace, setup=setup, now=now, kubeconfig=cluster))


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
    mode: TriggerMode = Mode.both,
    target: MutationTarget = Target.pods,
    enrolled: Enrolled = True,  # noqa: FBT002  # a flag
    namespace_selector: NamespaceSelector = ENROLLED,
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.table,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Say why a workload is (not) injected, and where each of its settings comes from."""
    from kagenti.cli import explanation
    from kagenti.cli.evaluation import Setup

    installation = _installation(release_namespace, cluster_domain, namespace_selector)
    setup = Setup(mode.value, target.value, enrolled, installation)
    sys.exit(explanation.run(workload, namespace=namespace, files=filename or [], setup=setup, output=output.value,
                            kubeconfig=kubeconfig))  # fmt: skip


@app.command()
def diff(
    filename: Files,
    namespace: Namespace = "default",
    mode: TriggerMode = Mode.both,
    target: MutationTarget = Target.pods,
    namespace_selector: NamespaceSelector = ENROLLED,
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.table,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Say which workloads and settings would change if these layers were applied; exit code 1 if any would."""
    from kagenti.cli import difference
    from kagenti.cli.evaluation import Setup

    installation = _installation(release_namespace, cluster_domain, namespace_selector)
    setup = Setup(mode.value, target.value, True, installation)  # noqa: FBT003  # files may create an enrolled namespace
    sys.exit(difference.run(filename, namespace=namespace, setup=setup, output=output.value, kubeconfig=kubeconfig))


@app.command()
def status(
    workload: Annotated[str, typer.Argument(help="KIND/NAME; without it, every workload that is ours.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Only this one; else all.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Print again whenever something changes.")] = False,  # noqa: FBT002  # a flag
    mode: TriggerMode = Mode.both,
    target: MutationTarget = Target.pods,
    namespace_selector: NamespaceSelector = ENROLLED,
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.table,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Say which pods are current, stale or bare, and which proxies took their configuration; 1 if something is amiss."""
    from kagenti.cli import standing
    from kagenti.cli.evaluation import Setup

    installation = _installation(release_namespace, cluster_domain, namespace_selector)
    setup = Setup(mode.value, target.value, False, installation)  # noqa: FBT003  # the cluster says what is enrolled
    asked = standing.Asked(workload, namespace, output.value, kubeconfig)
    sys.exit(standing.watch(asked, setup) if watch else standing.run(asked, setup))


@app.command()
def analyze(
    filename: Annotated[
        list[str] | None, typer.Option("--filename", "-f", help="Read files instead of the cluster.")
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Only this one; else all.")] = "",
    mode: TriggerMode = Mode.both,
    target: MutationTarget = Target.pods,
    enrolled: Enrolled = True,  # noqa: FBT002  # a flag
    namespace_selector: NamespaceSelector = ENROLLED,
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.table,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Find what is misplaced, refused, contradictory or out of date in files or a cluster; 1 if anything is."""
    from kagenti.cli import analysis
    from kagenti.cli.evaluation import Setup

    installation = _installation(release_namespace, cluster_domain, namespace_selector)
    setup = Setup(mode.value, target.value, enrolled, installation)
    sys.exit(analysis.run(filename or [], namespace=namespace, setup=setup, output=output.value, kubeconfig=kubeconfig))


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
def webhook(
    tls_cert: Annotated[Path, typer.Option(help="Serving certificate, PEM; watched.")],
    tls_key: Annotated[Path, typer.Option(help="Its key, PEM; watched.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104  # behind a Service
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 9443,
    trigger_mode: Annotated[Mode, typer.Option(envvar="KAGENTI_TRIGGER_MODE")] = Mode.both,
    target: Annotated[Target, typer.Option(envvar="KAGENTI_TARGET")] = Target.pods,
    consistency: Annotated[Consistency, typer.Option(envvar="KAGENTI_CONSISTENCY")] = Consistency.strict,
    client_ca: Annotated[Path | None, typer.Option(help="CA of the API server's client certificate.")] = None,
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    namespace_selector: NamespaceSelector = ENROLLED,
    webhook_configuration: Annotated[str, typer.Option(help="Check our leaf against its caBundle.")] = "",
    xds_ca: Annotated[
        Path | None, typer.Option(help="CA of the xDS server, PEM, watched; goes into each pod's bootstrap.")
    ] = None,
    kubeconfig: Annotated[str, typer.Option(help="Path of a kubeconfig; empty in a pod.")] = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Reviews decided at once; more are told to retry.")] = 1024,
    shutdown_grace: Annotated[float, typer.Option(help="Seconds to go on serving after SIGTERM.")] = 5.0,
    log_level: Annotated[str, typer.Option(envvar="KAGENTI_LOG_LEVEL")] = "INFO",
) -> None:
    """Run the admission webhook."""
    from kagenti import webhook as serving

    config = serving.WebhookConfig(
        certificate=tls_cert,
        key=tls_key,
        host=host,
        port=port,
        mode=trigger_mode.value,
        target=target.value,
        consistency=consistency.value,
        client_ca=client_ca,
        xds_ca=xds_ca,
        installation=_installation(release_namespace, cluster_domain, namespace_selector),
        webhook_configuration=webhook_configuration,
        kubeconfig=kubeconfig,
        shutdown_grace=shutdown_grace,
        concurrency=concurrency,
        log_level=log_level,
    )
    sys.exit(serving.main(config))


def _installation(release_namespace: str, cluster_domain: str, namespace_selector: str) -> Installation:
    return Installation(
        release_namespace=release_namespace,
        cluster_domain=cluster_domain,
        xds_host=f"kagenti-xds.{release_namespace}.svc",
        version=__version__,
        namespace_selector=namespace_selector,
    )


@app.command()
def xds(
    tls_cert: Annotated[Path, typer.Option(help="Serving certificate, PEM; watched.")],
    tls_key: Annotated[Path, typer.Option(help="Its key, PEM; watched.")],
    replica: Annotated[str, typer.Option(envvar="POD_NAME", help="Name of our entry in status: the pod's.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104  # behind a Service
    port: Annotated[int, typer.Option(help="Port that Envoys dial.")] = 15010,
    status_port: Annotated[int, typer.Option(help="Port for health and metrics.")] = 15011,
    debug_port: Annotated[int, typer.Option(help="Port for /debug, on loopback only.")] = 15012,
    idp_ca: Annotated[
        Path | None, typer.Option(help="CAs of identity providers besides the system's, PEM; watched.")
    ] = None,
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    kubeconfig: Annotated[str, typer.Option(help="Path of a kubeconfig; empty in a pod.")] = "",
    shutdown_grace: Annotated[float, typer.Option(help="Seconds over which open streams are handed over.")] = 10.0,
    log_level: Annotated[str, typer.Option(envvar="KAGENTI_LOG_LEVEL")] = "INFO",
) -> None:
    """Run the xDS server: configuration for the proxies of running pods."""
    from kagenti.xds import config, start

    sys.exit(
        start.main(
            config.XdsConfig(
                certificate=tls_cert,
                key=tls_key,
                replica=replica,
                host=host,
                port=port,
                status_port=status_port,
                debug_port=debug_port,
                idp_ca=idp_ca,
                installation=_installation(release_namespace, cluster_domain, ENROLLED),
                kubeconfig=kubeconfig,
                shutdown_grace=shutdown_grace,
                log_level=log_level,
            )
        )
    )


@app.command()
def operator(
    identity: Annotated[str, typer.Option(envvar="POD_NAME", help="Who holds the Lease: the pod's name.")],
    trigger_mode: Annotated[Mode, typer.Option(envvar="KAGENTI_TRIGGER_MODE")] = Mode.both,
    target: Annotated[Target, typer.Option(envvar="KAGENTI_TARGET")] = Target.pods,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104  # probes come to the pod
    status_port: Annotated[int, typer.Option(help="Port for health and metrics.")] = 15013,
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    namespace_selector: NamespaceSelector = ENROLLED,
    xds_ca: Annotated[
        Path | None, typer.Option(help="CA of the xDS server, PEM, watched: the one that the webhook puts into pods.")
    ] = None,
    kubeconfig: Annotated[str, typer.Option(help="Path of a kubeconfig; empty in a pod.")] = "",
    lease_seconds: Annotated[int, typer.Option(min=4, help="Seconds that a dead leader is waited for.")] = 8,
    pod_networks: Annotated[
        str,
        typer.Option(
            help="Networks of the pods' addresses, a.b.c.d/n with commas between: no others are asked for agent cards. "
            "Empty: any but loopback, link-local, metadata servers and the API server."
        ),
    ] = "",
    allow_restart: Annotated[  # noqa: FBT002  # a flag of the command line
        bool,
        typer.Option("--allow-restart", help="Carry out rollout.stale: Restart; needs the right to patch workloads."),
    ] = False,
    manage_certificates: Annotated[bool, typer.Option("--manage-certificates", help="Make the certificates.")] = False,  # noqa: FBT002  # a flag
    webhook_secret: Annotated[str, typer.Option(help="Secret of the webhook.")] = "kagenti-webhook-tls",  # noqa: S107  # its name
    xds_secret: Annotated[str, typer.Option(help="Secret of the xDS server.")] = "kagenti-xds-tls",  # noqa: S107  # its name
    ca_overlap: Annotated[
        float, typer.Option(help="Seconds that a CA is published before it signs; 0: 60, xDS 180.")
    ] = 0,
    log_level: Annotated[str, typer.Option(envvar="KAGENTI_LOG_LEVEL")] = "INFO",
) -> None:
    """Run the operator: status of our kinds, one leader among its replicas."""
    from kagenti.operator import config, start

    sys.exit(
        start.main(
            config.OperatorConfig(
                identity=identity,
                mode=trigger_mode.value,
                target=target.value,
                host=host,
                status_port=status_port,
                xds_ca=xds_ca,
                installation=_installation(release_namespace, cluster_domain, namespace_selector),
                kubeconfig=kubeconfig,
                lease_seconds=lease_seconds,
                pod_networks=config.networks(pod_networks),
                allow_restart=allow_restart,
                manage_certificates=manage_certificates,
                webhook_secret=webhook_secret,
                xds_secret=xds_secret,
                ca_overlap=ca_overlap,
                log_level=log_level,
            )
        )
    )


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


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
