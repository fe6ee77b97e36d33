"""The two authorities of one operator process, looked after for as long as it leads."""

import asyncio
import datetime
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from kagenti import errors
from kagenti.core.certificates import WEBHOOK, XDS
from kagenti.operator.certificates.keeper import Assignment, Keeper, Requests
from kagenti.operator.config import OperatorConfig

_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
_CONFIGURATIONS: Final = (
    f"{_ADMISSION}/mutatingwebhookconfigurations/kagenti-injector",
    f"{_ADMISSION}/validatingwebhookconfigurations/kagenti-validator",
)
_POLL: Final = 10.0  # seconds between two looks: a deleted Secret or an emptied caBundle is mended within
_RETRY: Final = 2.0  # seconds after which a look that failed is repeated


class ManagedCertificates:
    """Looks after the certificates of the webhook and of the xDS server.

    Args:
        client: Reads and writes Secrets and webhook configurations.
        config: Says whether there is anything to do.
        adopt: Told the CA of the xDS server, PEM, whenever another is to be counted on.
        logger: The log.
    """

    def __init__(
        self, client: Requests, config: OperatorConfig, *, adopt: Callable[[str], None], logger: logging.Logger
    ) -> None:
        self.failures: Counter[str] = Counter()
        self.established = asyncio.Event()
        self._adopt, self._logger = adopt, logger
        self._keepers = [Keeper(client, assignment, logger=logger) for assignment in assignments(config)]
        self._adopted = ""
        self._poll = min(_POLL, config.ca_overlap / 4) if config.ca_overlap else _POLL

    async def run(self) -> None:
        """Looks until cancelled; what fails is tried again."""
        while True:
            done = [await self._look(keeper) for keeper in self._keepers]
            if all(done):
                self.established.set()
            await asyncio.sleep(self._poll if all(done) else min(self._poll, _RETRY))

    def seconds_left(self) -> Mapping[tuple[str, str], float]:
        """Returns the seconds until expiry by (``webhook`` or ``xds``, ``ca`` or ``leaf``), as last seen."""
        return {
            (keeper.assignment.what, what): left
            for keeper in self._keepers
            for what, left in keeper.seconds_left().items()
        }

    def steps(self) -> Mapping[tuple[str, str], int]:
        """Returns how often each step was taken, by (``webhook`` or ``xds``, step)."""
        return {
            (keeper.assignment.what, step): count for keeper in self._keepers for step, count in keeper.steps.items()
        }

    async def _look(self, keeper: Keeper) -> bool:
        what = keeper.assignment.what
        try:
            await keeper.look()
        except errors.ClusterError as problem:
            self.failures[what] += 1
            fields = {"of": what, "problem": str(problem)}
            self._logger.warning("certificates could not be looked after", extra={"fields": fields})
            return False
        except Exception:  # a Secret that nobody foresaw must not end the leader: statuses go on
            self.failures[what] += 1
            self._logger.exception("certificates could not be looked after", extra={"fields": {"of": what}})
            return False
        if what == "xds" and keeper.trusted != self._adopted:
            self._adopted = keeper.trusted
            self._adopt(keeper.trusted)
        return True


def assignments(config: OperatorConfig) -> list[Assignment]:
    """Returns what a process is to look after; nothing where somebody else makes the certificates."""
    if not config.manage_certificates:
        return []
    return [
        _assignment(config, "webhook", config.webhook_secret, common_name="kagenti webhook CA"),
        _assignment(config, "xds", config.xds_secret, common_name="kagenti xDS CA"),
    ]


def _assignment(config: OperatorConfig, what: str, leaf: str, *, common_name: str) -> Assignment:
    rules = WEBHOOK if what == "webhook" else XDS
    if config.ca_overlap:
        rules = replace(rules, settle=datetime.timedelta(seconds=config.ca_overlap))
    namespace, domain = config.installation.release_namespace, config.installation.cluster_domain
    host = f"kagenti-{what}.{namespace}.svc"
    return Assignment(
        what=what,
        namespace=namespace,
        authority=f"kagenti-{what}-ca",
        leaf=leaf,
        common_name=common_name,
        names=frozenset({host, f"{host}.{domain}"}),
        rules=rules,
        configurations=_CONFIGURATIONS if what == "webhook" else (),
    )
