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
        found = self.of(namespace, name, kind).get("conditions") or ()
        return {one["type"]: (one["status"], one["reason"]) for one in found}

    def until(
        self,
        namespace: str,
        name: str,
        holds: Callable[[JSON], object],
        *,
        within: float = 5,
        kind: str = "AgentRuntime",
    ) -> JSON:
        """Waits until a status is so."""
        wait_until(
            lambda: holds(self.of(namespace, name, kind)), within, lambda: f"{name}: {self.of(namespace, name, kind)}"
        )
        return self.of(namespace, name, kind)

    def until_condition(
        self, namespace: str, name: str, type_: str, expected: tuple[str, str], *, within: float = 5,
        kind: str = "AgentRuntime",
    ) -> str:  # fmt: skip
        """Waits until a condition has that status and reason; returns its message."""
        wait_until(
            lambda: self.conditions(namespace, name, kind).get(type_) == expected,
            within,
            lambda: f"{name}: {type_} is not {expected}: {self.of(namespace, name, kind)}",
        )
        found = self.of(namespace, name, kind)["conditions"]
        return next(str(one["message"]) for one in found if one["type"] == type_)


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
