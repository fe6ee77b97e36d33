"""Starts one operator process from its configuration and runs it until a signal or a death; decides nothing."""

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import Final

from kagenti import journal
from kagenti.kube import KubeClient
from kagenti.kube.connection import connect
from kagenti.operator.config import OperatorConfig
from kagenti.operator.parts import Parts, agent

LOGGER: Final = "kagenti.operator"
# kopf tells every handler call and that it has no signals on its thread; both are as they should be.
_QUIET: Final = {"kopf": logging.ERROR}


def main(config: OperatorConfig) -> int:
    """Runs one process; returns its exit code.

    Raises:
        InputError: The kubeconfig, the port or another setting cannot be used.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(run(config))


async def run(config: OperatorConfig) -> int:
    """Runs one process on the running loop; 0 after SIGTERM or SIGINT, 1 when the Lease was lost or a part died."""
    logger = journal.open_logger(LOGGER, config.log_level)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connection = await asyncio.to_thread(connect, config.kubeconfig)  # an exec plugin runs a loop of its own
    async with KubeClient(connection, user_agent=agent(config)) as client:
        return await Parts(config, connection, client, logger=logger).process().serve(stop)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # optional: 1.2 to 1.5 times less CPU, absent on some platforms
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
