"""Reports as table, JSON, YAML and Markdown: entries, faults, findings, verification, runbook."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from kagenti.cli import scalars
from kagenti.core.migration import patches, runbook
from kagenti.core.migration.patches import WorkloadPatch
from kagenti.core.migration.report import Report, counted
from kagenti.core.migration.runbook import Step
from kagenti.core.migration.verify import Verified
from kagenti.core.settings.model import Finding

JSON = Any  # an answer, ready to be printed


def data(
    report: Report, verified: Sequence[Verified], *, era: str, why: str, done: Sequence[str] = ()
) -> dict[str, JSON]:
    """Returns everything as plain data."""
    return {
        "era": {"name": era, "why": why},
        "counts": dict(counted(report.entries)),
        "keys": [
            {"object": one.object, "key": one.key, "verdict": one.verdict, "to": one.to, "why": one.why}
            for one in report.entries
        ],
        "faults": [_finding(one) for one in report.faults],
        "findings": [_finding(one) for one in report.findings],
        "applied": list(done),
        "workloads": [_verified(one) for one in verified],
    }


def _finding(one: Finding) -> dict[str, JSON]:
    return {
        "reason": one.reason,
        "object": one.objects[0] if one.objects else "",
        "path": one.path,
        "message": one.message,
    }


def _verified(one: Verified) -> dict[str, JSON]:
    return {
        "workload": one.workload,
        "equal": one.equal,
        "ok": one.ok,
        "differences": [
            {"field": found.field, "old": _plain(found.old), "new": _plain(found.new), "reason": found.reason}
            for found in one.differences
        ],
    }


def _plain(value: JSON) -> JSON:
    return value if isinstance(value, str | int | bool | list | type(None)) else str(value)


def printed(answer: dict[str, JSON], form: str) -> str:
    """Returns an answer in one of the four forms."""
    if form in _DATA:
        return _as_data(answer, form)
    lines = _markdown(answer) if form == "markdown" else _table(answer)
    return "\n".join(lines) + "\n"


_DATA: Final = ("json", "yaml")


def _as_data(found: JSON, form: str) -> str:
    if form == "yaml":
        return scalars.text(found)
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n"


def _table(answer: dict[str, JSON]) -> Iterator[str]:
    if answer["era"]["name"]:
        yield f"era {answer['era']['name']}: {answer['era']['why']}"
    rows = [(one["object"], one["key"], one["verdict"], one["to"] or "–", one["why"]) for one in answer["keys"]]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    if rows:
        yield _row(("OBJECT", "KEY", "VERDICT", "TO", "WHY"), widths)
    yield from (_row(row, widths) for row in rows)
    yield ", ".join(f"{number} {verdict}" for verdict, number in answer["counts"].items())
    yield from (f"fault {one['reason']}: {one['message']}" for one in answer["faults"])
    yield from (f"warning {one['reason']}: {one['message']}" for one in answer["findings"])
    for one in answer["workloads"]:
        yield verdict_line(one)
        for found in one["differences"]:
            yield f"  {found['reason']}: {found['field']}: {_short(found['old'])} → {_short(found['new'])}"
    yield from answer["applied"]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells[:4], widths, strict=True)]
    return "  ".join((*padded, cells[4])).rstrip()


def verdict_line(one: JSON) -> str:
    """Returns one sentence on a workload."""
    if not one["differences"]:
        return f"{one['workload']}: equal in all {one['equal']} fields"
    kind = "all explained" if one["ok"] else "NOT ALL EXPLAINED"
    return f"{one['workload']}: {one['equal']} fields equal, {len(one['differences'])} differ ({kind})"


def _short(value: JSON) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 80 else f"{text[:79]}…"


def _cell(text: JSON) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _markdown(answer: dict[str, JSON]) -> Iterator[str]:
    yield "# Migration report"
    yield ""
    if answer["era"]["name"]:
        yield f"Era {answer['era']['name']}: {answer['era']['why']}."
        yield ""
    yield "| Object | Key | Verdict | To | Why |"
    yield "|---|---|---|---|---|"
    for one in answer["keys"]:
        yield f"| {_cell(one['object'])} | `{_cell(one['key'])}` | {one['verdict']} | {_code(one['to'])} | {_cell(one['why'])} |"
    for title, key in (("Faults: not migrated", "faults"), ("Warnings", "findings")):
        if answer[key]:
            yield from ("", f"## {title}", "", "| Reason | Message |", "|---|---|")
            yield from (f"| `{one['reason']}` | {_cell(one['message'])} |" for one in answer[key])
    if answer["workloads"]:
        yield from (
            "",
            "## Workloads before and after",
            "",
            "| Workload | Field | Before | After | Reason |",
            "|---|---|---|---|---|",
        )
    for one in answer["workloads"]:
        if not one["differences"]:
            yield f"| {_cell(one['workload'])} | all {one['equal']} | equal | equal | – |"
        for found in one["differences"]:
            yield (
                f"| {_cell(one['workload'])} | `{_cell(found['field'])}` | {_cell(_short(found['old']))} | "
                f"{_cell(_short(found['new']))} | `{found['reason']}` |"
            )
    if answer["applied"]:
        yield from ("", "## Applied", "", *(f"- {line}" for line in answer["applied"]))


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else "–"


def steps(found: Sequence[Step], form: str) -> str:
    """Returns a runbook."""
    if form in _DATA:
        listed = [
            {
                "step": number,
                "name": step.name,
                "title": step.title,
                "why": step.why,
                "does": runbook.described(step),
                "manifests": list(step.manifests),
                "patches": [patch_data(one) for one in step.patches],
                "command": step.command,
            }
            for number, step in enumerate(found, 1)
        ]
        return _as_data(listed, form)
    lines = []
    for number, step in enumerate(found, 1):
        head = (
            f"## {number}. {step.title} (`{step.name}`)"
            if form == "markdown"
            else f"{number}. {step.name}: {step.title}"
        )
        lines += [head, *([""] if form == "markdown" else []), f"   {step.why}" if form == "table" else f"{step.why}."]
        lines += [f"   - {line}" if form == "table" else f"- {line}" for line in runbook.described(step)]
        lines += [""] if form == "markdown" else []
    return "\n".join(lines) + "\n"


def patch_data(patch: WorkloadPatch) -> dict[str, JSON]:
    """Returns a patch as plain data."""
    return {"workload": patch.workload.name, "why": list(patch.why), "patch": list(patch.operations)}


def patch_lines(found: Sequence[WorkloadPatch], form: str) -> str:
    """Returns patches as commands with a comment each, or as data."""
    if form in _DATA:
        return _as_data([patch_data(one) for one in found], form)
    lines = []
    for one in found:
        words = shlex.join((*patches.command(one), orjson.dumps(one.operations).decode()))
        lines += [f"# {one.workload.name}: {', '.join(one.why)}", words]
    fence = ["```console"] if form == "markdown" else []
    return "\n".join([*fence, *lines, *(["```"] if fence else [])]) + "\n"
