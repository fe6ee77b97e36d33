"""Spec 00's trust model against a tenant's accounts: every attempt, who refuses it and in which words, or why it harms nobody.

The accounts have the default roles ``admin`` and ``edit`` with the chart's rules aggregated; the whole chart is installed, with
guards. docs/trust-model.md has the observed answers: written by ``--update-docs``, compared otherwise.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.installed import ROOT, Installed
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.trust import layers, pods
from tests.e2e.trust.tenants import ACCOUNTS, Row, Tenancy, refuser, words

JSON = Any  # a Kubernetes object as received

PAGE = ROOT / "docs" / "trust-model.md"
BEGIN, END = (
    "<!-- attempts:begin (written by tests/e2e/test_trust_model.py --update-docs) -->\n",
    "<!-- attempts:end -->",
)
PLATFORM = ("guards.platformGroups={platform,system:masters}",)
PARTS = {
    "Across the boundary": layers.BOUNDARY,
    "At the layers of the platform": layers.LAYERS,
    "From a lower layer upwards": layers.UPWARDS,
    "Where injection is Mandatory": pods.MANDATORY,
    "With what is ours in a manifest": pods.MANIFESTS,
    "On an agent that runs": pods.RUNNING,
}
ROWS = [row for rows in PARTS.values() for row in rows]


@pytest.fixture(scope="module")
def tenancy(install: Callable[..., Installed], api: ApiClient, cluster: ControlPlane) -> Iterator[Tenancy]:
    """The tenant's namespaces and accounts."""
    installation = install(mode="both", extra=PLATFORM)
    made = Tenancy(cluster, api, installation)
    try:
        made.begin()
        yield made
    finally:
        made.end()
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            cluster.kubectl("delete", kind, "kagenti-guard-namespaces")


@pytest.fixture(scope="module")
def observed() -> dict[tuple[str, str, tuple[str, ...]], tuple[str, str]]:
    """(attempt, expected refuser, accounts) → who refused, in which words; filled by the tests below."""
    return {}


def key(row: Row) -> tuple[str, str, tuple[str, ...]]:
    """Names a row: one attempt may stand in several, for several accounts."""
    return row.attempt, row.by, row.accounts


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.attempt} ({','.join(row.accounts)})" for row in ROWS])
def test_an_attempt_is_refused_or_harmless(row: Row, tenancy: Tenancy, observed: dict[Any, tuple[str, str]]) -> None:
    """By whom and in which words the row says; every account is answered alike."""
    answers = {who: row.run(tenancy, who) for who in row.accounts}
    told = {(refuser(answer), words(answer)) for answer in answers.values()}
    assert len(told) == 1, told
    ((by, said),) = told
    assert by == row.by, said
    assert [word for word in row.says if word not in said] == []
    assert bool(row.by) != bool(row.why), "a row says who refuses, or why it is harmless"
    observed[key(row)] = (by, said)


def table(rows: list[Row], observed: dict[Any, tuple[str, str]]) -> str:
    """Returns the rows as Markdown."""
    lines = ["| Attempt | of | Refused by | In these words; or why it harms nobody |\n|---|---|---|---|\n"]
    for row in rows:
        by, said = observed[key(row)]
        accounts = ", ".join(ACCOUNTS[who] for who in row.accounts)
        text = f"“{said}”" if by else f"{row.why}"
        lines.append(
            f"| {row.attempt} | {accounts} | {by or 'nobody'} | {' '.join(text.split()).replace('|', chr(92) + '|')} |\n"
        )
    return "".join(lines)


def test_the_docs_say_what_was_observed(observed: dict[Any, tuple[str, str]], request: pytest.FixtureRequest) -> None:
    """docs/trust-model.md, between its marks; needs the whole table above."""
    missing = [row.attempt for row in ROWS if key(row) not in observed]
    assert missing == [], "run the whole file: the page is compared with every row"
    written = "".join(f"### {title}\n\n{table(rows, observed)}\n" for title, rows in PARTS.items())
    head, _, rest = PAGE.read_text().partition(BEGIN)
    wanted = f"{head}{BEGIN}{written}{END}{rest.partition(END)[2]}"
    if request.config.getoption("--update-docs"):
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted, "run it with --update-docs, and read what changed"
