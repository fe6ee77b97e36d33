"""Writes the table of reason codes into docs/triggers-and-admission.md, between its marks; ``--check`` fails on drift.

The codes of decisions carry their meaning in the code (``core.trigger.reasons.MEANINGS``). The others are named here, by their
constants where they have one: a test compares this table with every code that ``core`` defines, so that none is missing.
"""

import sys
from pathlib import Path

from kagenti.core import propagation, receipts, selfchecks, validation
from kagenti.core.admission import advise, desk, evaluate, pods, reach, respond, workloads
from kagenti.core.inject import neighbours, refusal
from kagenti.core.migration import reasons as migration
from kagenti.core.settings import federated, merge
from kagenti.core.trigger import reasons

PAGE = Path(__file__).resolve().parent.parent / "docs" / "triggers-and-admission.md"
BEGIN, END = "<!-- reasons:begin (written by scripts/gen_reasons.py) -->\n", "<!-- reasons:end -->"

REFUSALS = {
    refusal.PROXY_UID: "an app container runs as the proxy's user 1337, or as 1000 with group 1337: its traffic would pass by the proxy",
    refusal.PORT_COLLISION: "an app container declares or names a port as we do; or an annotation or label opens AuthBridge's processor",
    refusal.RESERVED_NAME: "a container or volume has a name of ours without our receipt, or the app mounts our volume",
    refusal.INVALID_VALUE: "something that injection copies, of the pod or of a setting, has a newline or another control character",
    refusal.POD_SECURITY: "the Pod Security level of the namespace would refuse the sidecars",
    refusal.INTERCEPTION_NOT_ENFORCED: "the pod could undo the redirection: a warning, and denied under Mandatory",
    refusal.FOREIGN_INTERCEPTOR: "another mesh's sidecar redirects this pod's traffic already",
    refusal.TOO_LARGE: "the files of the sidecars, or the receipt, do not fit into the pod's annotations",
    refusal.LAYOUT_UNSUPPORTED: "the pod comes with sidecars of a newer version of kagenti, which this one cannot tell from the user's",
}
ANSWERS = {
    neighbours.AMBIENT_MESH: "warning: Istio's ambient mesh takes this pod's traffic too; what that means for callers",
    evaluate.RECEIPT_DROPPED: "warning: the pod carried a receipt of an injection that is not to be; it was removed",
    pods.NOT_OURS: "answered untouched: no rule of ours sends such a request",
    workloads.UNCHANGED: "target workloads: the update leaves the user's part of the template alone",
    workloads.DELETING: "target workloads: the object is on its way out",
    respond.BAD_REQUEST: "denied: the AdmissionReview cannot be read",
    respond.INTERNAL_ERROR: "denied: a defect of ours; the webhook's log has the trace under the request's uid",
}
OBJECTS = {
    desk.VALID: "accepted: nothing forbids this write of a kagenti object",
    selfchecks.INVALID: "denied: the object contradicts itself; the message names the field",
    validation.CONFLICT: "denied: another AgentRuntime targets this workload already; of two that exist the older one wins",
    validation.NOT_TOP_OWNER: "the target has an owner of its own: name that one",
    validation.UNSUPPORTED_TARGET: "the target's kind has no pods that kagenti can find",
    validation.NO_SUCH_NAMESPACE: "warning: a rule of policy.namespaces is about no namespace: declared ahead, or misspelt",
    validation.SENT_AS_OTLP: "warning: the exporter's type jaeger is sent as OTLP; name the OTLP port",
    validation.EXPORTER_IGNORED: "warning: one exporter is in effect, the first of type otlp",
    validation.SHARED_IDENTITY: "warning: workloads under one service account share identity and client; admission sees it of default only",
    "ClientPerPod": "warning: clientNameTemplate names the pod, so that each pod registers a client of its own",
    federated.FEDERATED_CLIENT: "warning: with federated-jwt and SPIFFE off, a service-account token does not fit the client",
    merge.LOCK_VIOLATION: "the value is ignored: a layer above locked the path; denied where it is written",
    merge.UNAUTHORISED: "the value is ignored: this layer may not set the path; denied where it is written",
    reach.NOT_CHECKED: "warning: not all other objects could be looked at; conflicts show in the status later",
    advise.ADVICE: "advice on a workload: its author is told something, nothing is refused or changed",
    advise.SILENT: "advice on a workload: there is nothing to say",
}
PROXIES = {
    propagation.PROPAGATED: "ConfigPropagated is True: every proxy acknowledged the configuration",
    propagation.NO_PROXIES: "ConfigPropagated is Unknown: nothing runs that could acknowledge anything",
    refusal.LAYOUT_UNSUPPORTED: "a running proxy keeps what it has: its listeners are older or newer than this version can serve",
    receipts.PROVIDER_NOT_ALLOWED: "a running proxy keeps what it has: its receipt names an identity provider that is not allowed",
}
CHECKS = {
    "NotInstalled": "a webhook configuration of ours does not exist",
    "CertificateNearExpiry": "`analyze`: the caBundle of a webhook configuration ends within a month",
    "NoCABundle": "an entry has no caBundle: the API server cannot trust the webhook",
    "BundlesDiffer": "entries of one configuration have different caBundles",
    "FailsOpen": "failurePolicy Ignore: pods start without sidecars while no webhook answers",
    "WebhookUnreachable": "the API server cannot call the webhook, or does not trust its certificate",
    "ProbeRefused": "the dry-run pod was denied, by us or by somebody else",
    "NotInjected": "the dry-run pod came back without sidecars",
    "NoCRD": "a kind of ours does not exist",
    "KindNotServed": "a kind of ours is not established, or does not serve this version",
    "ReplicasNotReady": "a Deployment of ours has fewer ready replicas than it wants",
    "NoLeader": "no replica of the operator leads: statuses are not written",
    "NoCSIDriver": "a CSI driver is missing without which injected pods do not start",
    "VersionsDiffer": "our processes run different images",
    "KeepsLastPolicy": "before uninstall: injected pods live on with their last policy",
    "SidecarsInTemplate": "before uninstall and switch: a template has sidecars that every new pod brings along",
    "LabelOnWorkload": "before switch: the label is on the workload's own metadata, which pods do not see",
    "OnlyLabel": "before switch: the label is the only trigger; bare in mode cr",
    "OnlyAgentRuntime": "before switch: an AgentRuntime is the only trigger; bare in mode label",
    "EmptyTemplate": "before switch: triggered, and nothing in the template; bare with target workloads until it is written again",
    "OldLayout": "before upgrade: a pod has an older layout than this version writes",
    "NewLayout": "before upgrade: a pod has a newer layout than this version writes (a rollback)",
    "OldCRD": "before upgrade: a CRD lacks fields of this version; CRDs go first",
    "StoredVersion": "before upgrade: objects may be stored in a version of the API that this one does not have",
    "UnknownField": "before upgrade: an object sets a field that this version does not know (a rollback)",
}
SECTIONS = {
    "What becomes of a pod": reasons.MEANINGS,
    "Refusals by the pod's content: denied, with the field": REFUSALS,
    "Other answers": ANSWERS,
    "Writes of kagenti objects, and advice": OBJECTS,
    "Running proxies": PROXIES,
    "Migration (`kagenti migrate`)": migration.MEANINGS,
    "What `kagenti check` and `kagenti analyze` find": CHECKS,
}


def table() -> str:
    """Returns all sections as one Markdown table each."""
    parts = []
    for title, meanings in SECTIONS.items():
        rows = "\n".join(f"| `{code}` | {meaning} |" for code, meaning in meanings.items())
        parts.append(f"### {title}\n\n| Reason | Meaning |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def main() -> int:
    """Writes or checks the part between the marks; returns 1 on drift."""
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        print(f"gen_reasons: {PAGE.name} has lost its marks {BEGIN.strip()} and {END}")
        return 1
    wanted = f"{head}{BEGIN}{table()}{END}{tail}"
    if wanted == text:
        return 0
    if "--check" in sys.argv[1:]:
        print("gen_reasons: docs/triggers-and-admission.md has drifted; run make crds and commit the result")
        return 1
    PAGE.write_text(wanted)
    print("gen_reasons: wrote docs/triggers-and-admission.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
