"""The layered block ``RuntimeSettings``: the same type in the cluster, namespace and workload layer.

Every field is optional at every layer and carries a Mark; defaults live in ``built_in`` only, never in a schema.
"""

from .identity import Identity
from .injection import Components, Injection
from .model import Model
from .trace import Trace


class RuntimeSettings(Model):
    """The layered block; a field that is absent inherits from the layers above."""

    injection: Injection | None = None
    """What is injected."""
    components: Components | None = None
    """The injected containers."""
    identity: Identity | None = None
    """Identity and traffic."""
    trace: Trace | None = None
    """Observability."""
