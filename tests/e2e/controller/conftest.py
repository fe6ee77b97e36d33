"""One installation with one operator, for all tests of this folder; and words for what they look at."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.operator_process import Operator
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a status


class Statuses:
    """Looks at the status of objects until it is what is expected."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    def of(self, namespace: str, name: str, kind: str = "AgentRuntime") -> JSON:
        """The status as it is now."""
        return self._api.get(kind, namespace, name).body.get("status") or {}

    def conditions(self, namespace: str, name: str, kind: str = "AgentRuntime") -> dict[str, tuple[str, str]]:
        """Status and reason by type."""
        return conditions_of(self.of(namespace, name, kind))

    def until(
        self,
        namespace: str,
        name: str,
        holds: Callable[[JSON], object],
        *,
        within: float = 30,
        kind: str = "AgentRuntime",
    ) -> JSON:
        """Waits until a status is so; returns that very status."""
        seen: list[JSON] = []

        def so() -> object:
            seen[:] = [self.of(namespace, name, kind)]
            return holds(seen[0])

        wait_until(so, within, lambda: f"{name}: {seen[0]}")
        return seen[0]

    def until_condition(
        self, namespace: str, name: str, type_: str, expected: tuple[str, str], *, within: float = 30,
        kind: str = "AgentRuntime",
    ) -> str:  # fmt: skip
        """Waits until a condition has that status and reason; returns the message that it then has."""
        says = self.until(
            namespace, name, lambda found: conditions_of(found).get(type_) == expected, within=within, kind=kind
        )
        return next(str(one["message"]) for one in says["conditions"] if one["type"] == type_)


def conditions_of(status: JSON) -> dict[str, tuple[str, str]]:
    """Status and reason by type."""
    return {one["type"]: (one["status"], one["reason"]) for one in status.get("conditions") or ()}


@pytest.fixture
def statuses(api: ApiClient) -> Statuses:
    """Statuses of the cluster's objects."""
    return Statuses(api)


@pytest.fixture
def installation(install: Callable[..., Installed]) -> Installed:
    """The installation with default values."""
    return install()


@pytest.fixture(scope="module")
def operator(cluster: ControlPlane, install: Callable[..., Installed]) -> Iterator[Operator]:
    """The leading operator of that installation."""
    found = Operator(install()).start()
    try:
        yield found
    finally:
        found.stop()
