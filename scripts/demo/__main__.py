"""The main job, shown: a real control plane, our webhook, the weather agent in three ways, and its Envoys while they run.

Everything printed is observed: pods as the API server returns them, decisions from its audit log, origins of settings from
``kagenti explain`` against the cluster, answers of the injected pods' real Envoys. ``--once`` ends by itself; ``--report
FILE`` writes the same as JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from scripts.demo.layers import BY_LABEL, BY_RUNTIME, NAMESPACE, UNTOUCHED, WAYS
from scripts.demo.live import Live
from scripts.demo.neighbours import Neighbours, unfit
from scripts.demo.telling import step
from scripts.demo.ways import apply_everything, observe, pod_of, show
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Options, installed
from tests.e2e.operator_process import Operator
from tests.e2e.plane.control_plane import ControlPlane

JSON = Any  # the report


@contextmanager
def neighbourhood() -> Iterator[tuple[Neighbours | None, str]]:
    """Gives what stands around running pods; None, and why, where no pod can be run."""
    why = unfit()
    with ExitStack() as stack:
        found = None
        try:
            found = None if why else stack.enter_context(Neighbours())
        except RuntimeError as error:
            why = f"no network can be made here: {error}"
        yield found, why


def run(plane: ControlPlane, arguments: argparse.Namespace, around: Neighbours | None, why: str) -> int:
    """Runs the demo on a started plane; returns the exit code."""
    step(f"control plane up at {plane.server}; installing kagenti, triggerMode={arguments.mode}")
    with (
        tempfile.TemporaryDirectory() as folder,
        installed(plane, Options(mode=arguments.mode), folder=Path(folder)) as kagenti,
    ):
        api = ApiClient(plane)
        operator = Operator(kagenti).start()
        step("webhook and operator ready; applying the weather agent in three ways")
        apply_everything(kagenti, api, around.idp.url if around else "")
        ways = {name: observe(kagenti, api, name) for name in WAYS}
        for result in ways.values():
            show(result)
        print()
        with ExitStack() as stack:
            stack.callback(operator.stop)
            live = stack.enter_context(Live(kagenti, api, around)) if around else None
            if live:
                proxied = [name for name in (BY_LABEL, BY_RUNTIME) if "envoy-proxy" in ways[name]["injected"]]
                live.run({name: pod_of(api, name) for name in proxied})
            else:
                step(f"running pods are not shown: {why}")
            statuses(plane)
            seen = live.report() if live else {"skipped": why, "pods": []}
            write(
                arguments.report,
                {"mode": arguments.mode, "server": plane.server, "workloads": [*ways.values()], "live": seen},
            )
            print()
            step("done")
            if not arguments.once:
                stay(plane, live)
    return 0 if ways[UNTOUCHED]["untouched"] and (live is None or live.holds) else 1


def statuses(plane: ControlPlane) -> None:
    """Shows what the operator says."""
    print()
    step("what the operator says: kubectl get agentruntime,artcc,artc -A")
    for line in plane.kubectl("get", "agentruntime,artcc,artc", "-A").splitlines():
        print(f"  {line}", flush=True)
    messages = "jsonpath={range .items[*]}{.metadata.name}: {.status.message}{'\\n'}{end}"
    for line in plane.kubectl("get", "agentruntime", "-A", "-o", messages).splitlines():
        print(f"  {line}", flush=True)


def write(file: str | None, report: JSON) -> None:
    """Writes the report where one is wanted."""
    if file:
        Path(file).write_text(json.dumps(report, indent=2) + "\n")
        step(f"report written to {file}")


def stay(plane: ControlPlane, live: Live | None) -> None:
    """Leaves everything running until Ctrl-C."""
    print(f"\n  export KUBECONFIG={plane.kubeconfig}\n  kubectl get pods -n {NAMESPACE}")
    for hint in live.hints() if live else ():
        print(f"  {hint}")
    print("\nCtrl-C ends it.", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print("\nending …")


def main() -> int:
    """Parses the arguments and runs."""
    parser = argparse.ArgumentParser(
        prog="make demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", choices=("label", "cr", "both"), default="both")
    parser.add_argument("--once", action="store_true", help="end when everything has been shown")
    parser.add_argument("--report", help="write what was observed to this file, as JSON")
    arguments = parser.parse_args()
    with neighbourhood() as (around, why):
        step("starting etcd, API server, controllers, scheduler and KWOK")
        with ControlPlane() as plane:
            return run(plane, arguments, around, why)


if __name__ == "__main__":
    sys.exit(main())
