"""The only room that talks to the API server: raw requests, list + watch feeding stores, owner and strict reads."""

from kagenti.kube.catalogue import Catalogue, keep_last_valid
from kagenti.kube.client import KubeClient
from kagenti.kube.feed import AnyFeed, Current, Feed, FeedState, Following, Reflect, Reflecting, feeds_of
from kagenti.kube.kinds import AGENT_CARDS, KINDS, OBSERVED, Kind, StoredObject, path_of
from kagenti.kube.owners import OwnerReader
from kagenti.kube.ownership import OnWorkload, Owners, Ownership
from kagenti.kube.pods import PODS, StoredPod
from kagenti.kube.reflector import Reflector
from kagenti.kube.settled import SettledCatalogue
from kagenti.kube.status import status_manifest
from kagenti.kube.strict import StrictReader

__all__ = [
    "AGENT_CARDS",
    "KINDS",
    "OBSERVED",
    "PODS",
    "AnyFeed",
    "Catalogue",
    "Current",
    "Feed",
    "FeedState",
    "Following",
    "Kind",
    "KubeClient",
    "OnWorkload",
    "OwnerReader",
    "Owners",
    "Ownership",
    "Reflect",
    "Reflecting",
    "Reflector",
    "SettledCatalogue",
    "StoredObject",
    "StoredPod",
    "StrictReader",
    "feeds_of",
    "keep_last_valid",
    "path_of",
    "status_manifest",
]
