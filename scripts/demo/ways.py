"""The three ways, observed: pods as the API server returns them, decisions from its audit log, origins of settings."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.demo.layers import NAMESPACE, WAYS, everything
from scripts.demo.telling import step
from tests.e2e.admission.observed import OURS, receipt, verdicts
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
ROOT = Path(__file__).resolve().parents[2]


def apply_everything(installation: Installed, api: ApiClient, keycloak: str) -> None:
    """Creates the layers and the three Deployments."""
    for manifest in everything(keycloak):
        if manifest["kind"] == "ServiceAccount":
            installation.plane.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
            continue
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
