"""Which pods belong to which cards, kept up to date by one change at a time.

A change costs what it touches: cards and pods are found through one label that both have, so that neither a rollout nor a
new card makes anybody look at everything.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kagenti.core.cards.pods import AgentPod
from kagenti.core.settings import selects

JSON = Any  # a label selector

Key = tuple[str, str]
"""Namespace and name of an AgentCard."""

_EVERY: Final = None  # the bucket of selectors that name no label with its value


@dataclass(slots=True)
class _Card:
    selector: Mapping[str, JSON]
    bucket: Hashable
    pods: dict[str, AgentPod] = field(default_factory=dict)


class Membership:
    """The matches of one process."""

    def __init__(self) -> None:
        self._cards: dict[Key, _Card] = {}
        self._cards_by: dict[Hashable, dict[Key, None]] = {}
        self._pods_by: dict[Hashable, dict[str, AgentPod]] = {}
        self._of_pod: dict[str, set[Key]] = {}

    def pods(self, key: Key) -> tuple[AgentPod, ...]:
        """Returns the pods that a card's selector selects."""
        card = self._cards.get(key)
        return tuple(card.pods.values()) if card is not None else ()

    def set_card(self, key: Key, selector: Mapping[str, JSON]) -> None:
        """Takes a card, new or changed."""
        self.remove_card(key)
        card = self._cards[key] = _Card(selector, self._bucket(key[0], selector))
        self._cards_by.setdefault(card.bucket, {})[key] = None
        for pod in self._candidates(key[0], selector):
            if selects(selector, pod.labels):
                card.pods[pod.uid] = pod
                self._of_pod.setdefault(pod.uid, set()).add(key)

    def remove_card(self, key: Key) -> None:
        """Forgets a card."""
        card = self._cards.pop(key, None)
        if card is None:
            return
        _drop(self._cards_by, card.bucket, key)
        for uid in card.pods:
            self._of_pod[uid].discard(key)

    def change_pod(self, old: AgentPod | None, new: AgentPod | None) -> frozenset[Key]:
        """Takes a pod as it was and as it is (None: not at all); returns the cards whose pods are others than before."""
        if old == new:
            return frozenset()
        touched: set[Key] = set()
        if old is not None:
            touched |= self._of_pod.pop(old.uid, set())
            for key in touched:
                self._cards[key].pods.pop(old.uid, None)
            for bucket in _buckets(old):
                _drop(self._pods_by, bucket, old.uid)
        if new is not None:
            touched |= self._add(new)
        return frozenset(touched)

    def _add(self, pod: AgentPod) -> set[Key]:
        keys = {key for bucket in _buckets(pod) for key in self._cards_by.get(bucket, ())}
        found = {key for key in keys if selects(self._cards[key].selector, pod.labels)}
        for key in found:
            self._cards[key].pods[pod.uid] = pod
        self._of_pod[pod.uid] = found
        for bucket in _buckets(pod):
            self._pods_by.setdefault(bucket, {})[pod.uid] = pod
        return set(found)

    def _bucket(self, namespace: str, selector: Mapping[str, JSON]) -> Hashable:
        """Returns the label under which a card is found: of those it names, the one that fewest cards share."""
        return min(_named(namespace, selector), key=lambda bucket: len(self._cards_by.get(bucket, ())))

    def _candidates(self, namespace: str, selector: Mapping[str, JSON]) -> Iterable[AgentPod]:
        pods = [self._pods_by.get(bucket, {}) for bucket in _named(namespace, selector)]
        return tuple(min(pods, key=len).values())


def _named(namespace: str, selector: Mapping[str, JSON]) -> list[Hashable]:
    labels = selector.get("matchLabels") or {}
    return [(namespace, *item) for item in labels.items()] or [(namespace, _EVERY)]


def _buckets(pod: AgentPod) -> Iterator[Hashable]:
    yield pod.namespace, _EVERY
    for item in pod.labels.items():
        yield pod.namespace, *item


def _drop(index: dict[Hashable, dict[Any, Any]], bucket: Hashable, key: Hashable) -> None:  # Any: either index
    entries = index.get(bucket)
    if entries is not None:
        entries.pop(key, None)
        if not entries:
            del index[bucket]
