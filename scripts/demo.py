"""The main job, shown: a real control plane, our webhook, and the weather agent in three ways.

Everything printed is observed: pods as the API server returns them, decisions from its audit log, origins of settings from
``kagenti explain`` against the cluster. ``--once`` ends by itself; ``--report FILE`` writes the same as JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.admission.manifests import config, runtime, workload  # the path above comes first
from tests.e2e.admission.observed import OURS, receipt, verdicts
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed, Options, installed
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
NAMESPACE = "team1"
CLUSTER_CONFIG = {
    "apiVersion": "kagenti.io/v1alpha1",
    "kind": "AgentRuntimeClusterConfig",
    "metadata": {"name": "default"},
    "spec": {"identity": {"spiffe": {"trustDomain": "prod.example.org"}}},
}
WAYS = {
    "weather-by-label": "label on the pod template",
    "weather-by-runtime": "clean workload + AgentRuntime",
    "weather-untouched": "neither",
}


def step(text: str) -> None:
    """Says what happens next, with the time since the start."""
    print(f"[{time.monotonic() - START:5.1f} s] {text}", flush=True)


def apply_everything(api: ApiClient) -> None:
    """Creates the layers and the three Deployments, AgentRuntime first."""
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"kagenti.io/enrolled": "true"}},
    }
    overrides = {
        "identity": {"inbound": {"validation": {"requiredScopes": ["agent:invoke"]}}},
        "trace": {"sampling": {"rate": 1.0}},
    }
    marks = {"kagenti.io/inject": "enabled", "kagenti.io/type": "agent"}
    manifests = [
        namespace,
        CLUSTER_CONFIG,
        config(
            NAMESPACE,
            identity={"clientRegistration": {"keycloak": {"realm": "team1"}}},
            trace={"sampling": {"rate": 0.25}},
        ),
        runtime(
            NAMESPACE, "weather-by-runtime", kind="Deployment", target="weather-by-runtime", type="agent", **overrides
        ),
        workload("Deployment", NAMESPACE, "weather-by-label", labels=marks),
        workload("Deployment", NAMESPACE, "weather-by-runtime"),
        workload("Deployment", NAMESPACE, "weather-untouched"),
    ]
    for manifest in manifests:
        answer = api.create(manifest)
        if not answer.ok:
            sys.exit(f"demo: {manifest['kind']} {manifest['metadata']['name']} was refused: {answer.message}")
        for warning in answer.warnings:
            step(f"warning for {manifest['kind']} {manifest['metadata']['name']}: {warning}")


def pod_of(api: ApiClient, name: str) -> JSON:
    """Returns the running pod that the Deployment controller made for that app."""
    found: list[JSON] = []

    def running() -> bool:
        found[:] = api.items("Pod", NAMESPACE, labelSelector=f"app={name}")
        return bool(found) and found[0].get("status", {}).get("phase") == "Running"

    wait_until(running, 60, lambda: f"no running pod of {name}; last seen {found[:1]}")
    return found[0]


def untouched(api: ApiClient, pod: JSON, name: str) -> bool:
    """Whether the pod is what its template says, but for what the API server and the ReplicaSet controller add."""
    template = api.get("Deployment", NAMESPACE, name).body["spec"]["template"]
    containers = [
        {key: value for key, value in container.items() if key != "volumeMounts"}
        for container in pod["spec"]["containers"]
    ]
    labels = {key: value for key, value in pod["metadata"]["labels"].items() if key != "pod-template-hash"}
    return (
        containers == template["spec"]["containers"]
        and "initContainers" not in pod["spec"]
        and labels == template["metadata"]["labels"]
        and not pod["metadata"].get("annotations")
        and all(volume["name"].startswith("kube-api-access-") for volume in pod["spec"].get("volumes") or ())
    )


def explained(installation: Installed, name: str) -> list[JSON]:
    """Returns the settings that a layer of this cluster changed, with their origin, as ``kagenti explain`` says."""
    command = [sys.executable, "-m", "kagenti", "explain", f"deployment/{name}", "-n", NAMESPACE, "-o", "json"]
    command += ["--kubeconfig", str(installation.plane.kubeconfig), "--mode", installation.options.mode]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"demo: kagenti explain failed with exit code {done.returncode}: {done.stderr}")
    settings = json.loads(done.stdout)["settings"]
    return [setting for setting in settings if setting["layer"] not in ("built-in", "derived")]


def observe(installation: Installed, api: ApiClient, name: str) -> dict[str, JSON]:
    """Returns what came of one way, from the API server."""
    pod = pod_of(api, name)
    workload = f"Deployment {NAMESPACE}/{name}"
    recorded = verdicts(installation.plane, resource="pods", namespace=NAMESPACE)
    seen = [verdict for verdict in recorded if verdict.workload == workload]
    found = receipt(pod)
    return {
        "workload": workload,
        "way": WAYS[name],
        "pod": pod["metadata"]["name"],
        "decision": "inject" if found else "allow",
        "reason": seen[-1].reason if seen else "not called",
        "trigger": found["trigger"] if found else None,
        "containers": [
            container["name"] for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
        ],
        "injected": [
            container["name"] for container in pod["spec"].get("initContainers", []) if container["name"] in OURS
        ],
        "untouched": untouched(api, pod, name),
        "settings": explained(installation, name) if found else [],
    }


def show(result: dict[str, JSON]) -> None:
    """Prints one way for a person."""
    print(f"\n  {result['workload']}  ({result['way']})")
    print(f"    pod         {result['pod']}")
    print(f"    decision    {result['decision']} ({result['reason']}), trigger {result['trigger'] or 'none'}")
    print(f"    containers  {', '.join(result['containers'])}")
    if result["untouched"]:
        print("    untouched   yes: the pod is what its template says, and nothing else")
    for setting in result["settings"]:
        print(f"    {setting['path']} = {json.dumps(setting['value'])}   from {setting['layer']}: {setting['origin']}")


def run(plane: ControlPlane, arguments: argparse.Namespace) -> int:
    """Runs the demo on a started plane."""
    step(f"control plane up at {plane.server}; installing kagenti, triggerMode={arguments.mode}")
    with (
        tempfile.TemporaryDirectory() as folder,
        installed(plane, Options(mode=arguments.mode), folder=Path(folder)) as kagenti,
    ):
        api = ApiClient(plane)
        step("webhook ready; applying the weather agent in three ways")
        apply_everything(api)
        results = [observe(kagenti, api, name) for name in WAYS]
        for result in results:
            show(result)
        if arguments.report:
            report = {"mode": arguments.mode, "server": plane.server, "workloads": results}
            Path(arguments.report).write_text(json.dumps(report, indent=2) + "\n")
            step(f"report written to {arguments.report}")
        print()
        step("done")
        if not arguments.once:
            stay(plane)
    return 0 if results[2]["untouched"] else 1


def stay(plane: ControlPlane) -> None:
    """Leaves everything running until Ctrl-C."""
    print(f"\n  export KUBECONFIG={plane.kubeconfig}\n  kubectl get pods -n {NAMESPACE}\n\nCtrl-C ends it.", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print("\nending …")


def main() -> int:
    """Parses the arguments and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("label", "cr", "both"), default="both")
    parser.add_argument("--once", action="store_true", help="end when everything has been shown")
    parser.add_argument("--report", help="write what was observed to this file, as JSON")
    arguments = parser.parse_args()
    step("starting etcd, API server, controllers, scheduler and KWOK")
    with ControlPlane() as plane:
        return run(plane, arguments)


START = time.monotonic()
if __name__ == "__main__":
    sys.exit(main())
