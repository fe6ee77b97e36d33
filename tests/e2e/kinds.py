"""Our CRDs on a plane: applied once, and again only where a test has changed or removed one."""

from pathlib import Path
from weakref import WeakKeyDictionary

from tests.e2e.api_client import METADATA, ApiClient
from tests.e2e.plane.control_plane import ControlPlane

GENERATED = Path(__file__).resolve().parents[2] / "generated" / "crds"

_applied: WeakKeyDictionary[ControlPlane, dict[str, str]] = WeakKeyDictionary()
"""The definitions of a plane as they were after they had been applied."""


def definitions(api: ApiClient) -> dict[str, str]:
    """Returns uid and generation of each of our CRDs that is there."""
    listed = api.request("GET", api.path("CustomResourceDefinition"), accept=METADATA).body
    metadata = [found["metadata"] for found in listed["items"]]
    return {one["name"]: f"{one['uid']} {one['generation']}" for one in metadata if one["name"].endswith(".kagenti.io")}


def serve_kinds(plane: ControlPlane) -> None:
    """Applies our CRDs where they are not as they were applied last; 230 kB cost a second of everybody's."""
    api = ApiClient(plane)
    if plane in _applied and definitions(api) == _applied[plane]:
        return
    names = [path.stem for path in GENERATED.glob("*.yaml")]
    assert names, "no CRDs generated"
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(GENERATED))
    plane.kubectl("wait", "--for=condition=Established", "crd", *names, "--timeout=60s")
    _applied[plane] = definitions(api)
