"""Cards and pods find each other through any order of changes, and only those concerned are named."""

import random
from typing import Any

from kagenti.core.cards import AgentPod, Key, Membership
from kagenti.core.settings import selects
from tests.unit.core.cards.given import pod

JSON = Any  # selectors

WEATHER: JSON = {"matchLabels": {"app": "weather", "kagenti.io/type": "agent"}}
NOT_DEV: JSON = {"matchExpressions": [{"key": "stage", "operator": "NotIn", "values": ["dev"]}]}
LABELS: tuple[dict[str, str], ...] = (
    {},
    {"app": "weather"},
    {"app": "weather", "kagenti.io/type": "agent"},
    {"app": "payroll", "kagenti.io/type": "agent", "stage": "dev"},
)
SELECTORS: tuple[JSON, ...] = (
    WEATHER,
    NOT_DEV,
    {},
    {"matchLabels": {"app": "payroll"}, **NOT_DEV},
    {"matchLabels": {}},
)


def _labelled(name: str, labels: dict[str, str], **given: Any) -> AgentPod:
    return pod(name, labels=labels, **given)


def test_a_change_names_the_cards_that_it_touches() -> None:
    """Appearing, changing, moving from one selector to another, going."""
    members = Membership()
    members.set_card(("team1", "weather"), WEATHER)
    members.set_card(("team1", "prod"), NOT_DEV)
    members.set_card(("team2", "weather"), WEATHER)
    one = _labelled("a", LABELS[2])
    assert members.change_pod(None, one) == {("team1", "weather"), ("team1", "prod")}
    assert members.change_pod(one, one) == frozenset()
    moved = _labelled("a", LABELS[3])
    assert members.change_pod(one, moved) == {("team1", "weather"), ("team1", "prod")}
    assert (members.pods(("team1", "weather")), members.pods(("team1", "prod"))) == ((), ())
    assert members.change_pod(moved, None) == frozenset()
    assert members.pods(("nowhere", "card")) == ()


def test_any_order_of_changes_comes_to_the_same() -> None:
    """Against the plain definition, after each of many random changes."""
    dice, members = random.Random(7), Membership()
    cards: dict[Key, JSON] = {}
    pods: dict[str, AgentPod] = {}
    for _ in range(1500):
        name = f"n{dice.randrange(6)}"
        key = (f"team{dice.randrange(2)}", name)
        match dice.randrange(4):
            case 0:
                cards[key] = dice.choice(SELECTORS)
                members.set_card(key, cards[key])
            case 1:
                cards.pop(key, None)
                members.remove_card(key)
            case 2:
                old = pods.get(name)
                new = _labelled(name, dice.choice(LABELS), namespace=old.namespace if old else key[0])
                pods[name] = new
                members.change_pod(old, new)
            case 3:
                members.change_pod(pods.pop(name, None), None)
        for known, selector in cards.items():
            wanted = {one.uid for one in pods.values() if one.namespace == known[0] and selects(selector, one.labels)}
            assert {one.uid for one in members.pods(known)} == wanted


def test_nothing_is_left_behind() -> None:
    """Neither empty buckets nor pods of yesterday."""
    members = Membership()
    for n in range(50):
        members.set_card(("team1", str(n)), SELECTORS[n % len(SELECTORS)])
        members.change_pod(None, _labelled(str(n), LABELS[n % len(LABELS)]))
    for n in range(50):
        members.remove_card(("team1", str(n)))
        members.change_pod(_labelled(str(n), LABELS[n % len(LABELS)]), None)
    left = (members._cards, members._cards_by, members._pods_by, members._of_pod)
    assert left == ({}, {}, {}, {})
