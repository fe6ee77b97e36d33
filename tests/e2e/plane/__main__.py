"""``python -m tests.e2e.plane``: the control plane alone, with a kubeconfig to play with, until Ctrl-C."""

import signal
import sys

from tests.e2e.plane.control_plane import ControlPlane


def main() -> None:
    """Starts it, prints how to use it, waits; ``--once`` prints the timings and ends."""
    print("plane: starting etcd, API server, controllers, scheduler and KWOK …", flush=True)
    with ControlPlane() as plane:
        for name, seconds in plane.timings.items():
            print(f"plane: {name} after {seconds:.1f} s")
        print(
            f"\n  export KUBECONFIG={plane.kubeconfig}\n  {plane.binaries.kubectl} get nodes\n\nCtrl-C ends it.",
            flush=True,
        )
        if "--once" not in sys.argv:
            signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
