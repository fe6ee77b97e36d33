"""Legacy ConfigMaps, labels and objects in; manifests, patches, findings and a runbook out.

Beside the way there (``mapping``) stands the old webhook's own semantics as an executable model (``model``), written from its
code's description and not from the mapping: ``verify`` compares what the two make of the same pod.
Facts of the old world: reference authbridge-contract sections 0 and 6 to 8.
"""
