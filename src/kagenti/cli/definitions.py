"""``kagenti crds``: prints the generated CRDs, or applies them server-side."""

import re
import sys
from typing import Final

from kagenti.cli import cluster
from kagenti.cli.schemas import texts
from kagenti.kube.client import KubeClient

# Of our own generated text, whose form the drift check holds: reading it as YAML takes a second.
_NAME: Final = re.compile(r"^  name: (\S+)$", re.MULTILINE)


def run(*, apply: bool, kubeconfig: str) -> int:
    """Prints or applies the CRDs; returns 0."""
    if apply:
        cluster.session(kubeconfig, _apply)
    else:
        sys.stdout.write("".join(f"---\n{text}" for text in texts()))
    return 0


async def _apply(client: KubeClient) -> None:
    for text in texts():
        name = _NAME.findall(text)[0]
        await client.request(
            "PATCH",
            f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}",
            params={"fieldManager": "kagenti", "force": "true"},
            body=text.encode(),
            content_type="application/apply-patch+yaml",
        )
        sys.stdout.write(f"customresourcedefinition {name} applied\n")
