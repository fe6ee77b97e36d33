"""``kagenti crds``: prints the generated CRDs, or applies them server-side."""

import asyncio
import sys

from ruamel.yaml import YAML

from kagenti.cli.schemas import texts


def run(*, apply: bool, kubeconfig: str) -> int:
    """Prints or applies the CRDs; returns 0."""
    if not apply:
        sys.stdout.write("".join(f"---\n{text}" for text in texts()))
        return 0
    asyncio.run(_apply(kubeconfig))
    return 0


async def _apply(kubeconfig: str) -> None:
    from kagenti.kube.client import KubeClient, connect

    async with KubeClient(connect(kubeconfig), user_agent="kagenti-cli") as client:
        for text in texts():
            name = YAML(typ="safe").load(text)["metadata"]["name"]
            await client.request(
                "PATCH",
                f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}",
                params={"fieldManager": "kagenti", "force": "true"},
                body=text.encode(),
                content_type="application/apply-patch+yaml",
            )
            sys.stdout.write(f"customresourcedefinition {name} applied\n")
