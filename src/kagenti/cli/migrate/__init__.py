"""``kagenti migrate``: arguments of the four ways out of an older installation; what they do is in the modules beside."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from kagenti.cli.choices import (
    CLUSTER_DOMAIN,
    RELEASE_NAMESPACE,
    ClusterDomain,
    Era,
    Exchanger,
    Kubeconfig,
    Mode,
    ReleaseNamespace,
    ReportForm,
    Way,
)

app = typer.Typer(no_args_is_help=True, help=(
    "From ConfigMaps, labels and objects of older versions to kagenti's own. "
    "Nothing is deleted, and nothing is changed without --apply or --step."
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scope:
    """Where the old installation is read: files, or a cluster and which of its namespaces."""

    files: tuple[str, ...]
    namespaces: tuple[str, ...]
    kubeconfig: str
    era: str = ""
    trust_domain: str = ""
    cluster_domain: str = CLUSTER_DOMAIN
    release_namespace: str = RELEASE_NAMESPACE
    mode: str = ""


Files = Annotated[
    list[str] | None, typer.Option("--filename", "-f", help="Read a dump instead of the cluster; repeatable.")
]
Namespaces = Annotated[
    list[str] | None, typer.Option("--namespace", "-n", help="Agent namespace; repeatable. Without it, all of them.")
]
AllNamespaces = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="Every agent namespace, which is the default.")
]
OfEra = Annotated[Era | None, typer.Option("--era", help="Era of the old webhook, where it cannot be seen.")]
TrustDomain = Annotated[str, typer.Option(help="SPIRE's trust domain.")]
Report = Annotated[ReportForm, typer.Option("--report", "-o", help="How the report is printed.")]
Apply = Annotated[bool, typer.Option("--apply", help="Apply to the cluster.")]
Replace = Annotated[bool, typer.Option(help="With --apply: take away what an earlier run set and this one does not.")]
KeepInjecting = Annotated[
    bool | None,
    typer.Option("--keep-injecting/--stop-injecting", help="What gates that are all false mean from now on."),
]
InstalledMode = Annotated[
    Mode | None, typer.Option("--mode", help="Trigger mode of the installation, where none is installed yet.")
]


def _scope(
    filename: list[str] | None,
    namespace: list[str] | None,
    kubeconfig: str,
    era: Era | None,
    *,
    trust_domain: str = "",
    cluster_domain: str = CLUSTER_DOMAIN,
    release_namespace: str = RELEASE_NAMESPACE,
    mode: Mode | None = None,
) -> Scope:
    return Scope(
        files=tuple(filename or ()),
        namespaces=tuple(namespace or ()),
        kubeconfig=kubeconfig,
        era=era.value if era else "",
        trust_domain=trust_domain,
        cluster_domain=cluster_domain,
        release_namespace=release_namespace,
        mode=mode.value if mode else "",
    )


@app.command()
def configmaps(
    namespace: Namespaces = None,
    all_namespaces: AllNamespaces = False,  # noqa: FBT002  # a flag
    filename: Files = None,
    apply: Apply = False,  # noqa: FBT002  # a flag
    partial: Annotated[bool, typer.Option(help="With --apply: apply although some objects could not be read.")] = False,  # noqa: FBT002  # a flag
    replace: Replace = False,  # noqa: FBT002  # a flag
    verify: Annotated[bool, typer.Option("--verify", help="Compare every workload before and after.")] = False,  # noqa: FBT002  # a flag
    output_dir: Annotated[Path | None, typer.Option(help="Write one file for each manifest there.")] = None,
    report: Report = ReportForm.table,
    era: OfEra = None,
    trust_domain: TrustDomain = "",
    token_exchange: Annotated[Exchanger, typer.Option(help="Who exchanges tokens from now on.")] = Exchanger.AuthBridge,
    keep_injecting: KeepInjecting = None,
    mode: InstalledMode = None,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    kubeconfig: Kubeconfig = "",
) -> None:
    """ConfigMaps of the old webhook to one AgentRuntimeClusterConfig and an AgentRuntimeConfig for each namespace.

    Manifests go to stdout and the report to stderr; with --output-dir, --apply or --verify the report goes to stdout.
    """
    from kagenti.cli.migrate import settings

    _ = all_namespaces  # said for clearness: it is what happens without --namespace
    scope = _scope(filename, namespace, kubeconfig, era, trust_domain=trust_domain, cluster_domain=cluster_domain,
                   release_namespace=release_namespace, mode=mode)  # fmt: skip
    wanted = settings.Wanted(
        apply=apply, partial=partial, replace=replace, verify=verify, output_dir=output_dir, report=report.value,
        exchanger=token_exchange.value, keep_injecting=keep_injecting,
    )  # fmt: skip
    sys.exit(settings.run(scope, wanted))


@app.command()
def trigger(
    to: Annotated[Way, typer.Option("--to", help="The trigger that is to be: cr (AgentRuntimes) or label.")],
    namespace: Namespaces = None,
    all_namespaces: AllNamespaces = False,  # noqa: FBT002  # a flag
    filename: Files = None,
    step: Annotated[str, typer.Option(help="Carry out the step of this name; without it the runbook is printed.")] = "",
    output_dir: Annotated[Path | None, typer.Option(help="Write the manifests of its steps there, for GitOps.")] = None,
    report: Report = ReportForm.table,
    era: OfEra = None,
    mode: InstalledMode = None,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Labels to AgentRuntimes, or the reverse: a runbook in an order that never leaves a bare pod, carried out by --step N."""
    from kagenti.cli.migrate import triggers

    _ = all_namespaces
    scope = _scope(filename, namespace, kubeconfig, era, cluster_domain=cluster_domain,
                   release_namespace=release_namespace, mode=mode)  # fmt: skip
    sys.exit(triggers.run(scope, to.value, step=step, report=report.value, output_dir=output_dir))


@app.command()
def labels(
    namespace: Namespaces = None,
    all_namespaces: AllNamespaces = False,  # noqa: FBT002  # a flag
    filename: Files = None,
    apply: Apply = False,  # noqa: FBT002  # a flag
    report: Report = ReportForm.table,
    era: OfEra = None,
    mode: InstalledMode = None,
    cluster_domain: ClusterDomain = CLUSTER_DOMAIN,
    release_namespace: ReleaseNamespace = RELEASE_NAMESPACE,
    kubeconfig: Kubeconfig = "",
) -> None:
    """Labels from workloads to their pod templates, and sidecars that old webhooks stored in templates out of them."""
    from kagenti.cli.migrate import triggers

    _ = all_namespaces
    scope = _scope(filename, namespace, kubeconfig, era, cluster_domain=cluster_domain,
                   release_namespace=release_namespace, mode=mode)  # fmt: skip
    sys.exit(triggers.labels(scope, apply=apply, report=report.value))


@app.command()
def crs(
    namespace: Namespaces = None,
    all_namespaces: AllNamespaces = False,  # noqa: FBT002  # a flag
    filename: Files = None,
    apply: Apply = False,  # noqa: FBT002  # a flag
    partial: Annotated[bool, typer.Option(help="With --apply: apply although some objects could not be read.")] = False,  # noqa: FBT002  # a flag
    output_dir: Annotated[Path | None, typer.Option(help="Write one file for each manifest there.")] = None,
    report: Report = ReportForm.table,
    kubeconfig: Kubeconfig = "",
) -> None:
    """AgentRuntimes and AgentCards of the older API groups to kagenti's; legacy Agent objects are listed."""
    from kagenti.cli.migrate import settings

    _ = all_namespaces
    scope = _scope(filename, namespace, kubeconfig, None)
    wanted = settings.Wanted(apply=apply, partial=partial, output_dir=output_dir, report=report.value)
    sys.exit(settings.run_crs(scope, wanted))
