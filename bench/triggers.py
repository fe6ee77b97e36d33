"""Which trigger costs what: the three trigger modes beside a controller that patches Deployments after the fact.

Real control plane and controllers, KWOK instead of a kubelet: pods are Ready as soon as they are scheduled, so that every
figure is that of the trigger, not of images. A fleet of Deployments is applied twice: what triggers first, then the
workload; and, as Helm and GitOps tools sort, the workload first. ``--quick`` takes a small fleet and publishes nothing.
"""

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.e2e.plane.control_plane import ControlPlane

from bench.figures import OUTPUT, publish, quantile
from bench.trials import MECHANISMS, ORDERS, REPLICAS, TITLES, Lab


def rows(lab: Lab) -> list[tuple[str, list[str]]]:
    """Returns the table: what, and a value for each mechanism."""
    found: list[tuple[str, list[str]]] = [
        ("workloads of the fleet", [str(lab.runs[mechanism, ORDERS[0]].workloads) for mechanism in lab.mechanisms])
    ]
    for order in ORDERS:
        runs = [lab.runs[mechanism, order] for mechanism in lab.mechanisms]
        found += [
            (f"apply → first injected pod Ready, {order}", [_spread(run.first) for run in runs]),
            (f"apply → injected pods only, {order}", [_spread(run.whole) for run in runs]),
            (f"pods created bare, {order}", [f"{run.bare} of {run.created}" for run in runs]),
            (f"time that bare pods were Ready, {order}", [f"{run.bare_ready:.1f} s" for run in runs]),
            (f"pods created again, {order}", [str(run.more_than_wanted) for run in runs]),
            (f"API writes beyond the team's own, {order}", [f"{run.writes / run.workloads:.1f} an agent" for run in runs]),
        ]  # fmt: skip
    for what, title in (("triggered", "create of a pod that is injected"), ("plain", "create of a pod that is not")):
        values = [(lab.creates[name, what], lab.creates[name, "floor"]) for name in lab.mechanisms]
        found.append(
            (f"{title}, one caller", [f"{value * 1000:.1f} ms ({value / floor:.1f} ×)" for value, floor in values])
        )
    found.append(("webhook calls for a pod without a trigger", [f"{lab.called[name]:.0f}" for name in lab.mechanisms]))
    return found


def _spread(values: list[float]) -> str:
    return f"{quantile(values, 0.5) / 1000:.2f} s p50, {max(values):.2f} s at most"


def table(lab: Lab, *, workloads: int, load: float) -> str:
    """Returns the table as Markdown, with its conditions."""
    lines = [
        f"| Figure | {' | '.join(TITLES[name] for name in lab.mechanisms)} |",
        "|---" * (len(lab.mechanisms) + 1) + "|",
    ]
    lines += [f"| {what} | {' | '.join(values)} |" for what, values in rows(lab)]
    when = time.strftime("%Y-%m-%d", time.gmtime())
    lines += [
        "",
        f"Measured {when} by `make bench BENCH=triggers` on {os.cpu_count()} shared cores, load average before the run "
        f"{load:.1f}: {workloads} Deployments of {REPLICAS} replicas in an enrolled namespace, applied one after the other; real "
        "API server and controllers, KWOK instead of a kubelet, so that no figure holds the time of images or containers. "
        "With cr and both an AgentRuntime triggers, with label the label; the operator runs beside the webhook and evicts bare "
        "pods of AgentRuntimes one by one (its default). Pods created again are roll-outs or evictions: restarts of an agent. "
        "× is against the same create in a namespace where no webhook is asked, in turn with it; the controller that patches injects no "
        "pod at its creation.",
    ]
    return "\n".join(lines) + "\n"


def plot(lab: Lab) -> None:
    """Writes the plot: when workloads had injected pods only, and how long bare pods served meanwhile."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.6))
    for axis, order in zip(axes, ORDERS, strict=False):
        for mechanism in lab.mechanisms:
            values = sorted(lab.runs[mechanism, order].whole)
            share = [(number + 1) / len(values) for number in range(len(values))]
            axis.plot(values, share, label=TITLES[mechanism], drawstyle="steps-post")
        axis.set(
            xlim=(0, None),
            ylim=(0, 1.02),
            xlabel="s after apply",
            ylabel="share of workloads",
            title=f"injected pods only, {order}",
        )
        axis.legend(fontsize=7, loc="lower right")
    width = 0.4
    for place, order in enumerate(ORDERS):
        heights = [lab.runs[mechanism, order].bare_ready for mechanism in lab.mechanisms]
        axes[2].bar([number + place * width for number in range(len(lab.mechanisms))], heights, width, label=order)
    axes[2].set_xticks([number + width / 2 for number in range(len(lab.mechanisms))], lab.mechanisms)
    axes[2].set(ylabel="s", title="time that bare pods were Ready, together")
    axes[2].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(OUTPUT / "triggers.png", dpi=110)


def main() -> None:
    """Measures, prints the table, and publishes table and plot unless the run was quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two workloads; nothing is published")
    parser.add_argument(
        "--webhook", action="append", choices=MECHANISMS[:-1], help="this mode only; nothing is published"
    )
    arguments = parser.parse_args()
    quick, chosen = arguments.quick, (*(arguments.webhook or MECHANISMS[:-1]), MECHANISMS[-1])
    workloads, pods, load = (2, 10, os.getloadavg()[0]) if quick else (20, 200, os.getloadavg()[0])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plane = stack.enter_context(ControlPlane())
        lab = Lab(plane, folder, chosen)
        for mechanism in lab.mechanisms:
            lab.measure(mechanism, workloads=workloads, pods=pods, warm=0 if quick else 4)
        lab.api.close()
    text = table(lab, workloads=workloads, load=load)
    if not quick and not arguments.webhook:
        publish(
            "triggers",
            text,
            picture="the three trigger modes beside controller-based patching",
            pages=("docs/triggers.md",),
        )
        plot(lab)
    print("\n" + text)


if __name__ == "__main__":
    main()
