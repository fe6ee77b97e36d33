"""Writes the tables of docs/migration.md between their marks, from the tables that the command works with; ``--check`` fails on drift."""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from kagenti.core.migration import crs, eras, images, keys, patches, reasons
from kagenti.core.migration.keys import Key

PAGE = Path(__file__).resolve().parent.parent / "docs" / "migration.md"

FILES = {
    keys.GATES: "Feature gates (`kagenti-webhook-feature-gates`, `kagenti-feature-gates`, `rossoctl-feature-gates`)",
    keys.PLATFORM: "Platform values (`kagenti-webhook-defaults`, `kagenti-platform-config`, `rossoctl-platform-config`)",
    keys.CONFIG: "`authbridge-config`, and `environments` before 2026-03-12",
    keys.ROUTES: "`authproxy-routes`, for each route",
    keys.HELPER: "`spiffe-helper-config`",
    keys.ENVOY: "`envoy-config`",
    keys.RUNTIME: "`authbridge-runtime-config`",
}
INJECT = {
    "forces": "in a labelled namespace every labelled type, unless the label has another value than `enabled`",
    "required": "`enabled` is required, in a labelled namespace",
    "optsOut": "`disabled` opts out; every labelled type in a labelled namespace is in",
}
REGISTRATION = {
    "optsOut": 'sidecar, unless `client-registration-inject: "false"`',
    "optsIn": 'sidecar only with `client-registration-inject: "true"`',
    "operator": 'operator; sidecar only with `client-registration-inject: "true"`',
}


def cell(text: str) -> str:
    """Returns a text for a cell."""
    return text.replace("|", "\\|") or "–"


def rows(found: Mapping[str, Key]) -> str:
    """Returns the rows of a table of keys."""
    return "\n".join(
        f"| `{name}` | {row.verdict} | {f'`{row.to}`' if row.to else '–'} | {cell(row.why)} |"
        for name, row in found.items()
    )


def key_table() -> str:
    """Returns what becomes of every key."""
    head = "| Key | Verdict | To | Why |\n|---|---|---|---|"
    return "\n".join(f"#### {title}\n\n{head}\n{rows(keys.KEYS[file])}\n" for file, title in FILES.items())


def era_table() -> str:
    """Returns the eras with what was theirs."""
    lines = ["| Era | Versions | Maps | Mutates | `inject` | Registers |", "|---|---|---|---|---|---|"]
    for era in eras.ERAS.values():
        maps = f"`{era.namespace}`: `{era.gates}`, `{era.platform}`" if era.gates else "none (compiled in)"
        lines.append(
            f"| {era.name} | {era.versions} | {maps} | {era.target} | {INJECT[era.inject]} | {REGISTRATION[era.registration]} |"
        )
    return "\n".join(lines) + "\n"


def image_table() -> str:
    """Returns which tags were published."""
    lines = ["| Image | Published | Last |", "|---|---|---|"]
    lines += [
        f"| `{name}` | from {found.first} | {found.last or 'still'} |" for name, found in images.PUBLISHED.items()
    ]
    return "\n".join(lines) + "\n"


def reason_table() -> str:
    """Returns every code with its meaning."""
    lines = ["| Code | Meaning |", "|---|---|"]
    return (
        "\n".join([*lines, *(f"| `{code}` | {cell(meaning)} |" for code, meaning in reasons.MEANINGS.items())]) + "\n"
    )


def object_table() -> str:
    """Returns what becomes of the fields of the older kinds."""
    head = "| Field | Verdict | To | Why |\n|---|---|---|---|"
    parts = {"AgentRuntime": crs.RUNTIME_FIELDS, "AgentCard": crs.CARD_FIELDS}
    return "\n".join(f"#### {kind}\n\n{head}\n{rows(found)}\n" for kind, found in parts.items())


def listed(names: Iterable[str]) -> str:
    """Returns names as code, with commas."""
    return ", ".join(f"`{name}`" for name in names)


def stored_table() -> str:
    """Returns what is taken out of pod templates."""
    where = "where sidecars are taken out"
    found = {
        f"containers {listed(patches.CONTAINERS)}": f"name, and image one of {listed(patches.IMAGES)}",
        f"volumes {listed(patches.VOLUMES)}": "name and source, unless a container that stays mounts it",
        "`securityContext.fsGroup: 0`": where,
        f"annotations {listed(patches.ANNOTATIONS)}": where,
    }
    return (
        "\n".join(["| What | Recognised by |", "|---|---|", *(f"| {what} | {by} |" for what, by in found.items())])
        + "\n"
    )


TABLES: dict[str, Callable[[], str]] = {
    "eras": era_table,
    "keys": key_table,
    "images": image_table,
    "objects": object_table,
    "stored": stored_table,
    "reasons": reason_table,
}


def rendered(text: str) -> str:
    """Returns the page with every table written anew."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}:begin (written by scripts/gen_migration.py) -->\n", f"<!-- {name}:end -->"
        head, mark, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not (mark and closed):
            raise SystemExit(f"gen_migration: {PAGE.name} has lost its marks {begin.strip()} and {end}")
        text = f"{head}{begin}{table()}{end}{tail}"
    return text


def main() -> int:
    """Writes or checks the tables; returns 1 on drift."""
    text = PAGE.read_text()
    wanted = rendered(text)
    if wanted == text:
        return 0
    if "--check" in sys.argv[1:]:
        print("gen_migration: docs/migration.md has drifted; run make crds and commit the result")
        return 1
    PAGE.write_text(wanted)
    print("gen_migration: wrote docs/migration.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
