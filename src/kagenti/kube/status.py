"""The manifest by which a field manager says all that it has to say in an object's status, or takes it back."""

from typing import Any

from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a status, a manifest


def status_manifest(kind: str, namespace: str, name: str, uid: str, status: JSON) -> JSON:
    """Returns what is applied to the status of an object of ours.

    An empty status is left out: applied as ``{}`` it makes the API server refuse the object (422, "status in body must be of
    type object: null"; seen on 1.36) where nobody else has anything in it, and what was to be taken back stays.

    Args:
        kind: Its kind.
        namespace: Its namespace; empty for one of the cluster.
        name: Its name.
        uid: Its uid, as it is meant; the answer's is to be compared (``KubeClient.apply``).
        status: The fields of this manager, all of them.
    """
    metadata = {"name": name, "uid": uid} | ({"namespace": namespace} if namespace else {})
    manifest = {"apiVersion": wellknown.API_VERSION, "kind": kind, "metadata": metadata}
    return manifest | ({"status": status} if status else {})
