"""The only room that talks to the API server: raw requests, list + watch feeding stores, owner and strict reads."""

from kagenti.kube.client import KubeClient
from kagenti.kube.kinds import KINDS, Kind, StoredObject, path_of
from kagenti.kube.owners import OwnerReader
from kagenti.kube.reflector import Reflector
from kagenti.kube.strict import StrictReader

__all__ = [
    "KINDS",
    "Kind",
    "KubeClient",
    "OwnerReader",
    "Reflector",
    "StoredObject",
    "StrictReader",
    "path_of",
]
