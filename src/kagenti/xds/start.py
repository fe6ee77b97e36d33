"""Starts one xDS process from its configuration and runs it until a signal or a death; decides nothing."""

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import Final

from kagenti import journal
from kagenti.fetch import ApiServers
from kagenti.kube import KubeClient
from kagenti.kube.connection import connect
from kagenti.xds.config import XdsConfig
from kagenti.xds.fetch import JwksClient
from kagenti.xds.parts import Caches, Parts
from kagenti.xds.process import Part
from kagenti.xds.roots import Roots

LOGGER: Final = "kagenti.xds"


def main(config: XdsConfig) -> int:
    """Runs one process; returns its exit code.

    Raises:
        InputError: Certificate, kubeconfig, port or another setting cannot be used.
    """
    return asyncio.run(run(config))


async def run(config: XdsConfig) -> int:
    """Runs one process on the running loop; 0 after SIGTERM or SIGINT and handing over, 1 when a part of it died."""
    logger = journal.open_logger(LOGGER, config.log_level)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connection = await asyncio.to_thread(connect, config.kubeconfig)  # an exec plugin runs a loop of its own
    async with AsyncExitStack() as stack:
        agent = f"kagenti-xds/{config.installation.version}"
        client = await stack.enter_async_context(KubeClient(connection, user_agent=agent))
        caches, servers = Caches(client, logger), ApiServers(client.server)
        await servers.look()
        roots = Roots(config.idp_ca, logger, poll=config.poll)
        fetch = await stack.enter_async_context(
            JwksClient(providers=caches.identity_providers, api_servers=servers.known, verify=roots.context)
        )
        parts = Parts(config, client, caches, fetch=fetch, logger=logger)
        tasks: list[Part] = [("API servers", servers.run), ("CA of identity providers", roots.run)]
        return await parts.process(tasks).serve(stop)
