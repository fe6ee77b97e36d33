"""The four marks of a layered field: class, merge, lockable, authority. One source for code, CRDs and docs."""

from dataclasses import dataclass
from typing import Literal

Class = Literal["live", "restart", "both"]
"""How a change reaches running pods: ``live`` by xDS, ``restart`` with the next pod, ``both`` in either way."""

Merge = Literal["replace", "mapByKey", "listByKey"]
"""How two layers combine in this field; objects always merge field by field."""

Authority = Literal["workload", "cluster"]
"""The lowest layer that may set the field; ``cluster`` is opened to others by ``policy.delegated``."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the merge engine, the CRD descriptions and the reference know of one layered field."""

    class_: Class
    merge: Merge = "replace"
    authority: Authority = "workload"
    lockable: bool = True


LIVE = Mark("live")
RESTART = Mark("restart")
BOTH = Mark("both")
CLUSTER_ONLY = Mark("restart", authority="cluster")
"""A restart setting that only the cluster layer may set (marked **C** in the reference)."""
