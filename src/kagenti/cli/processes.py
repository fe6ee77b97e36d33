"""The commands that run a process of ours: webhook, xds and operator; the chart starts them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from kagenti.cli.choices import (
    CLUSTER_DOMAIN,
    ENROLLED,
    RELEASE_NAMESPACE,
    ClusterDomain,
    Consistency,
    Mode,
    NamespaceSelector,
    ReleaseNamespace,
    Target,
    installation,
)

app = typer.Typer()


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
        installation=installation(release_namespace, cluster_domain, namespace_selector),
        webhook_configuration=webhook_configuration,
        kubeconfig=kubeconfig,
        shutdown_grace=shutdown_grace,
        concurrency=concurrency,
        log_level=log_level,
    )
    sys.exit(serving.main(config))


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
                installation=installation(release_namespace, cluster_domain, ENROLLED),
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
                installation=installation(release_namespace, cluster_domain, namespace_selector),
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
