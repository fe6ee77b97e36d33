"""Brings one snapshot up to date: today's layers and the pod's receipt → proxy → resources → messages → snapshot.

Builds only what is made from something else than before. What cannot be built leaves the snapshot as it is, with the
reason beside it (spec 05: unreadable layers, contradictions, old layouts, unlisted providers leave proxies alone).
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol

from kagenti import errors
from kagenti.core import delivery
from kagenti.core.delivery import Kept, Served
from kagenti.core.envoy import Proxy
from kagenti.core.layers import LayerCache
from kagenti.xds.catalogue import Asked, Catalogue
from kagenti.xds.encoding import Encoder
from kagenti.xds.shelf import Entry

TOO_MANY_KEY_SETS: Final = "TooManyKeySets"
DEFECT: Final = "Defect"


class Keys(Protocol):
    """The key sets of identity providers, by URL (``keys.Keyring``)."""

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Calls ``listener`` with each URL whose set has changed."""

    def lease(self, url: str, *, namespace: str) -> bool:
        """Begins to keep a URL; False where the namespace names too many."""

    def release(self, url: str, *, namespace: str) -> None:
        """Ends what ``lease`` began."""

    def get(self, url: str) -> str | None:
        """Returns the set, or None while none is known."""


class Builder:
    """Builds entries of one process; ``outcomes`` counts builds by bounded code, ``seconds`` is the time they took."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        keys: Keys,
        layers: LayerCache,
        context: delivery.Context,
        encoder: Encoder,
        logger: logging.Logger,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._catalogue, self._keys, self._layers = catalogue, keys, layers
        self._context, self._encoder, self._logger, self._clock = context, encoder, logger, clock
        self.outcomes: Counter[str] = Counter()
        self.seconds = 0.0

    def build(self, entry: Entry) -> None:
        """Brings an entry up to date; never raises."""
        begun = self._clock()
        try:
            self._take(entry, self._decide(entry))
        except Exception as defect:  # one workload must not end the process: it is ours to mend, and said
            self._logger.exception("snapshot cannot be built", extra={"fields": {"workload": str(entry.key.workload)}})
            what = str(defect) if isinstance(defect, errors.Defect) else type(defect).__name__
            self._keep(entry, Kept(DEFECT, f"defect: {what}"))
        self.seconds += self._clock() - begun

    def release(self, entry: Entry) -> None:
        """Lets go of what is held for an entry that is given up."""
        self._lease(entry, "")

    def _decide(self, entry: Entry) -> Served | Kept:
        workload = entry.key.workload
        sources = self._layers.gather(
            cluster=self._catalogue.cluster_config(),
            namespace=self._catalogue.namespace_config(workload.namespace),
            runtimes=self._catalogue.runtimes_for(workload),
        )
        return delivery.decide(
            entry.pod,
            sources=sources,
            context=self._context,
            namespace_labels=self._catalogue.namespace_labels(workload.namespace) or {},
            namespaces=Asked(self._catalogue.known_namespaces),
        )

    def _take(self, entry: Entry, found: Served | Kept) -> None:
        if isinstance(found, Served) and not self._lease(entry, found.jwks_url):
            namespace = entry.key.workload.namespace
            message = f"the workloads of namespace {namespace} name too many key sets; let them share some"
            found = Kept(TOO_MANY_KEY_SETS, message, found.revision)
        if isinstance(found, Kept):
            self._keep(entry, found)
            return
        self._serve(entry, found.with_keys(self._keys.get(entry.url) if entry.url else None))
        entry.kept, entry.reason, entry.revision = "", "", found.revision

    def _serve(self, entry: Entry, proxy: Proxy) -> None:
        made_from = _essence(proxy)
        if made_from == entry.made_from and entry.asked.holds(self._catalogue.known_namespaces):
            self.outcomes["unchanged"] += 1
            return
        snapshot = self._encoder.snapshot(proxy)
        entry.made_from = made_from
        entry.asked = proxy.namespaces if isinstance(proxy.namespaces, Asked) else Asked(())
        if entry.snapshot is None or entry.snapshot.revision != snapshot.revision:
            entry.snapshot = snapshot
        self.outcomes["built"] += 1

    def _keep(self, entry: Entry, kept: Kept) -> None:
        self.outcomes[kept.reason] += 1
        if kept.message != entry.kept:
            fields: dict[str, Any] = {"workload": str(entry.key.workload), "reason": kept.reason, "why": kept.message}
            self._logger.warning("proxies keep what they have", extra={"fields": fields})  # Any: values of a log line
        entry.kept, entry.reason, entry.revision = kept.message, kept.reason, kept.revision or entry.revision

    def _lease(self, entry: Entry, url: str) -> bool:
        """Makes ``url`` the one whose keys are kept for an entry, empty for none; False where that is one too many."""
        namespace = entry.key.workload.namespace
        if url == entry.url:
            return True
        if url and not self._keys.lease(url, namespace=namespace):
            return False
        if entry.url:
            self._keys.release(entry.url, namespace=namespace)
        entry.url = url
        return True


def _essence(proxy: Proxy) -> tuple[object, ...]:
    """Returns what resources are made from, to be compared: versions of objects and findings are not, namespaces ask."""
    settings = proxy.settings
    return (
        settings.values,
        {path: origin.source.layer for path, origin in settings.origins.items()},
        proxy.values,
        proxy.port_mapping,
        proxy.bypasses,
        proxy.keys,
        proxy.credentials_secret,
        proxy.layout,
    )
