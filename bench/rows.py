"""What was measured of xDS as rows of the table, each against its baseline, and as the plot."""

from collections.abc import Mapping, Sequence

from bench.figures import OUTPUT, Figure, quantile
from bench.real import Changed
from bench.streams import Measured

Outages = Mapping[float, list[float]]
"""Seconds of outage → seconds until each proxy was back."""

ACKNOWLEDGED = {
    (1000, 1): 0.3,
    (5000, 2): 1.0,
}  # seconds until all have acknowledged, by streams and processes (spec 05)
MEMORY = 70  # KB a plaintext-equivalent stream (spec 05)


def spread(seconds: Sequence[float]) -> str:
    """Returns p50 and p99 in ms."""
    return f"{quantile(list(seconds), 0.5):.0f} ms p50, {quantile(list(seconds), 0.99):.0f} ms p99"


def times(value: float, baseline: float, what: str) -> str:
    """Returns how many times the baseline a value is."""
    return f"{value / baseline:.1f} × {what}" if baseline else ""


def acknowledged(found: Changed, one: Changed) -> Figure:
    """From push to acknowledgement, by the server's own histogram; many Envoys wait for the machine's cores, not for us."""
    histogram, middle = found.acknowledged, found.acknowledged.quantile(0.5)
    far = histogram.quantile(0.99)
    value = f"{middle:.1f} ms p50, {far:.1f} ms p99 of {histogram.count:,.0f}"
    what = f"change → ACK in the server, {_envoys(found)}"
    if found is not one:
        return Figure(what, value, against=times(middle, one.acknowledged.quantile(0.5), "one Envoy (p50)"))
    return Figure(what, value, "≤ 20 ms p99", far <= 20)


def behaviour(found: Changed, start: float) -> Figure:
    """From the write at the API server to the first request that is answered otherwise."""
    far = quantile(found.behaviour, 0.99)
    value = spread(found.behaviour)
    value += f"; the last of them {spread(found.last)}" if found.envoys > 1 else ""
    against = (
        f"1/{start / quantile(found.behaviour, 0.5) * 1000:.0f} of a new pod's start ({start:.1f} s, image present)"
    )
    return Figure(f"write → another answer, {_envoys(found)}", value, "≤ 300 ms p99", far <= 300, against)


def under_load(found: Changed, updates: int) -> Figure:
    """Requests that failed while updates came."""
    good, total = found.answers.get("200", 0), sum(found.answers.values())
    what = f"failed requests in {updates} live updates, 8 connections without a pause"
    return Figure(what, f"{total - good} of {total:,}", "0", good == total > 0)


def back(found: Outages, who: str, *, resent: str = "") -> list[Figure]:
    """Times until proxies were back after outages."""
    rows, shortest = [], quantile(found[min(found)], 0.5)
    for seconds, values in found.items():
        against = (
            resent if seconds == min(found) else times(quantile(values, 0.5), shortest, "that without a pause (p50)")
        )
        rows.append(Figure(f"{who} back after {seconds:.0f} s of outage", spread(values), against=against))
    return rows


def streams(found: Measured, floor: Measured) -> list[Figure]:
    """Connect storm, change and CPU of one size, against the bare server."""
    what = f"{found.streams:,} streams over {_processes(found)}"
    most = ACKNOWLEDGED.get((found.streams, found.processes))
    last, bare = quantile(found.last, 0.5), quantile(floor.last, 0.5)
    target, held = (f"all ≤ {most:g} s", last <= most * 1000) if most else ("", None)
    change = f"all after {last:.0f} ms; each {spread(found.acknowledged)}"
    push, bare_push = _mean(found.push_cpu), _mean(floor.push_cpu)
    cost = f"{found.connect_cpu:.1f} ms a connect, {push:.2f} ms a change"
    ratio = f"{times(found.connect_cpu, floor.connect_cpu, 'and')} {times(push, bare_push, 'bare gRPC')}"
    return [
        Figure(
            f"connect storm, {what}",
            spread(found.connect) + (f"; {found.lost} connections broke and came again" if found.lost else ""),
            against=times(quantile(found.connect, 0.99), quantile(floor.connect, 0.99), "bare gRPC (p99)"),
        ),
        Figure(f"write → all ACKed, {what}", change, target, held, times(last, bare, "bare gRPC")),
        Figure(f"CPU a stream, {what}", cost, against=ratio),
    ]


def status(found: Measured) -> Figure:
    """When the last status of a change was written."""
    count = found.streams // 5
    value = f"{quantile(found.status, 0.5) / 1000:.1f} s p50, {max(found.status):.1f} s at most"
    return Figure(f"write → status of {count:,} AgentRuntimes written, {_processes(found)}", value)


def memory(found: Measured, floor: Measured, plain: Measured) -> Figure:
    """Memory of a stream, and what it would be without TLS: less what TLS costs the bare server."""
    equivalent = found.memory - (floor.memory - plain.memory)
    value = f"{found.memory:.0f} KB with TLS, {equivalent:.0f} KB plaintext-equivalent"
    what = f"resident memory a stream, {found.streams:,} streams"
    against = f"bare gRPC {floor.memory:.0f} KB with TLS, {plain.memory:.0f} KB plaintext"
    # What a process takes once, whatever it serves, hides the streams where they are few.
    held = equivalent <= MEMORY if found.streams >= 1000 else None
    return Figure(what, value, f"≤ {MEMORY} KB plaintext-equivalent", held, against)


def plot(sizes: Sequence[tuple[Measured, Measured]], outages: Mapping[str, Outages]) -> None:
    """Writes the plot: times by number of streams, against the bare server; and how proxies come back."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(13, 3.6))
    for processes, colour in ((1, "tab:blue"), (2, "tab:green")):
        some = [pair for pair in sizes if pair[0].processes == processes]
        count = [found.streams for found, _ in some]
        for place, style, name in ((0, "o-", "kagenti xds"), (1, "o:", "bare gRPC")):
            label = f"{name}, {processes} process{'es' * (processes > 1)}"
            drawn = {"label": label, "color": colour}
            middle.plot(count, [quantile(pair[place].connect, 0.99) / 1000 for pair in some], style, **drawn)
            left.plot(count, [quantile(pair[place].last, 0.5) / 1000 for pair in some], style, **drawn)
    for axis, title in ((left, "write → all streams ACKed"), (middle, "connect storm, p99")):
        axis.set(xscale="log", yscale="log", xlabel="streams", ylabel="s", title=title)
        axis.legend(fontsize=7)
    for who, found in outages.items():
        for seconds, values in found.items():
            share = [(number + 1) / len(values) for number in range(len(values))]
            right.plot(sorted(values), share, label=f"{who}, {seconds:.0f} s outage", drawstyle="steps-post")
    right.set(xlabel="s after the server was ready", ylabel="share back", title="reconnect", ylim=(0, 1.02))
    right.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(OUTPUT / "xds.png", dpi=110)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _envoys(found: Changed) -> str:
    return f"{found.envoys} real Envoy{'s' * (found.envoys > 1)}"


def _processes(found: Measured) -> str:
    return f"{found.processes} process{'es' * (found.processes > 1)}"
