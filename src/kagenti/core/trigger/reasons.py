"""The reason codes of decisions: one word each, a bounded set, the same in answers, metrics, audit log and explain.

Codes of refusals by the injection itself (``ProxyUid``, ``PortCollision``, …) stand with it, in ``core.inject``.
"""

from collections.abc import Mapping
from typing import Final

LABEL: Final = "Label"
AGENT_RUNTIME: Final = "AgentRuntime"
MANDATORY: Final = "Mandatory"
KEPT: Final = "Kept"

NO_TRIGGER: Final = "NoTrigger"
LABEL_IGNORED: Final = "LabelIgnored"
EXEMPT: Final = "Exempt"
OPT_OUT: Final = "OptOut"
INJECTION_DISABLED: Final = "InjectionDisabled"
TYPE_EXCLUDED: Final = "TypeExcluded"
NOTHING_TO_INJECT: Final = "NothingToInject"

LABEL_MISSING: Final = "LabelMissing"
NOT_ENROLLED: Final = "NotEnrolled"
POLICY_UNENFORCED: Final = "PolicyUnenforced"
BREAK_GLASS: Final = "BreakGlass"
SYSTEM_NAMESPACE: Final = "SystemNamespace"

INVALID_LABEL: Final = "InvalidLabel"
MANDATORY_INJECTION: Final = "MandatoryInjection"
UNSUPPORTED_POD: Final = "UnsupportedPod"
CONFIG_INVALID: Final = "ConfigInvalid"
NOT_READY: Final = "NotReady"

MEANINGS: Final[Mapping[str, str]] = {
    LABEL: "injected: the pod says kagenti.io/inject: enabled",
    AGENT_RUNTIME: "injected: an AgentRuntime targets the pod's top owner",
    MANDATORY: "injected: the policy of the namespace asks for every pod",
    KEPT: "injected as before: the trigger of a workload is gone, but not by its label (target workloads)",
    NO_TRIGGER: "left alone: no label, no AgentRuntime, no Mandatory policy",
    LABEL_IGNORED: "left alone, with a warning: in trigger mode cr the label enabled triggers nothing",
    EXEMPT: "left alone: Mandatory here, and the cluster exempts this owner or service account",
    OPT_OUT: "left alone: the pod says kagenti.io/inject: disabled",
    INJECTION_DISABLED: "left alone: a layer sets injection.enabled to false",
    TYPE_EXCLUDED: "left alone, with a warning: the pod's type is not in injection.types",
    NOTHING_TO_INJECT: "left alone, with a warning: every component is switched off",
    LABEL_MISSING: "the webhook is not called: trigger mode label, an AgentRuntime, and no label on the pod",
    NOT_ENROLLED: "the webhook is not called: the namespace is not enrolled",
    POLICY_UNENFORCED: "the webhook is not called although the policy is Mandatory",
    BREAK_GLASS: "the webhook is not called: the namespace carries the break-glass label",
    SYSTEM_NAMESPACE: "the webhook is not called in system namespaces and the release's own",
    INVALID_LABEL: "denied: kagenti.io/inject has a value that means nothing",
    MANDATORY_INJECTION: "denied: Mandatory, and the pod would come up without sidecars",
    UNSUPPORTED_POD: "hostNetwork or Windows: denied by label or Mandatory, left alone by AgentRuntime",
    CONFIG_INVALID: "denied: a layer is unreadable or the layers contradict each other",
    NOT_READY: "denied, try again: caches not synced or the API server did not answer",
}
"""What each code means, for the reference and for explain."""
