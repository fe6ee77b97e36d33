"""The reason codes of a migration: faults, warnings, and differences that are intended; one word each."""

from collections.abc import Mapping
from typing import Final

# An object that cannot be migrated
MALFORMED: Final = "Malformed"
WRONG_TYPE: Final = "WrongType"
OLD_REFUSED: Final = "OldRefused"
NO_ACCESS: Final = "NoAccess"
INVALID_RESULT: Final = "InvalidResult"

# What people should know or do
MISSING_OBJECT: Final = "MissingObject"
SECOND_PAIR: Final = "SecondPair"
PLAIN_CREDENTIAL: Final = "PlainCredential"
LATEST_TAG: Final = "LatestTag"
FROZEN_TAG: Final = "FrozenTag"
UNPUBLISHED_TAG: Final = "UnpublishedTag"
UNKNOWN_KEY: Final = "UnknownKey"
TRUST_DOMAIN: Final = "TrustDomain"
ADMIN_SECRET: Final = "AdminSecret"  # noqa: S105  # a reason code
PROVIDERS_LISTED: Final = "ProvidersListed"
ENVOY_CUSTOM: Final = "EnvoyCustom"
SAME_TARGET: Final = "SameTarget"

# Differences that are intended
ALL_FALSE_GATES: Final = "AllFalseGates"
COMPILED_IMAGE: Final = "CompiledImage"
OLD_ENVOY: Final = "OldEnvoy"
COMBINED_SIDECAR: Final = "CombinedSidecar"
NOT_CARRIED: Final = "NotCarried"
VALIDATION_SKIPPED: Final = "ValidationSkipped"
AUDIENCE_REQUIRED: Final = "AudienceRequired"
GLOB_WIDENED: Final = "GlobWidened"
GLOB_DROPPED: Final = "GlobDropped"
TLS_ORIGINATED: Final = "TlsOriginated"
DEFAULT_MISSING_TOKEN: Final = "DefaultMissingToken"  # noqa: S105  # a reason code
SERVICE_ACCOUNT: Final = "ServiceAccount"
CLIENT_NAME: Final = "ClientName"
REGISTRATION_MOVED: Final = "RegistrationMoved"
OTHER_PREFIX: Final = "OtherPrefix"
ANNOTATION_COUNTS: Final = "AnnotationCounts"
INVERTED_LABEL: Final = "InvertedLabel"
OLD_SIDECARS: Final = "OldSidecars"
REFUSED: Final = "Refused"
NOT_TRIGGERED: Final = "NotTriggered"
NEWLY_TRIGGERED: Final = "NewlyTriggered"
OLD_STUCK: Final = "OldStuck"
NO_EXCHANGE: Final = "NoExchange"
UNEXPLAINED: Final = "Unexplained"

MEANINGS: Final[Mapping[str, str]] = {
    MALFORMED: "fault: text in a ConfigMap that is not YAML or HCL; the object is not migrated",
    WRONG_TYPE: "fault: a value of the wrong type, for which the old webhook refused the whole file",
    OLD_REFUSED: "fault: the old webhook's own checks refused the file, so what it holds was not in force",
    NO_ACCESS: "fault: an object or namespace that this account may not read; everything else is migrated",
    INVALID_RESULT: "fault: the settings that come out contradict each other; the message names the fields",
    MISSING_OBJECT: "an object that the old webhook needed is not there; its pods could not start",
    SECOND_PAIR: "the ConfigMaps of another installation are there too; those of the running webhook count",
    PLAIN_CREDENTIAL: "a credential in plain text in a ConfigMap: put it into a Secret, then delete the key",
    LATEST_TAG: "an image by the tag latest, or nightly: it can change under running agents",
    FROZEN_TAG: "an image by the tag latest that is not built any more",
    UNPUBLISHED_TAG: "an image tag that was never published: its pods cannot start",
    UNKNOWN_KEY: "a key that no era of the old webhook knew",
    TRUST_DOMAIN: "the trust domain is SPIRE's: client id and audience hang on it now; check it",
    ADMIN_SECRET: "the namespace needs the Secret keycloak-admin-secret",
    PROVIDERS_LISTED: "a token endpoint on another server than Keycloak's: the cluster config lists the servers",
    ENVOY_CUSTOM: "envoy.yaml has parts of its own, which kagenti does not carry",
    SAME_TARGET: "several AgentRuntimes of an older group target one workload: apply one of them",
    ALL_FALSE_GATES: "difference: every gate is false, which the old webhook took for an empty file and injected",
    COMPILED_IMAGE: "difference: an image that the old webhook had compiled in, by latest; the pinned default takes its place",
    OLD_ENVOY: "difference: that image's Envoy is too old for kagenti's bootstrap; the pinned default takes its place",
    COMBINED_SIDECAR: "difference: one combined container became one for each component",
    NOT_CARRIED: "difference: a value that kagenti's kinds cannot hold; the entry says what to do",
    VALIDATION_SKIPPED: "difference: the old pod let every caller in although an issuer was set; now tokens are validated",
    AUDIENCE_REQUIRED: "difference: the old pod accepted tokens for any audience; now they must be for this workload",
    GLOB_WIDENED: "difference: *.suffix meant one label and now means any number",
    GLOB_DROPPED: "difference: a route glob that is neither a host nor *.suffix; write its hosts as rules",
    TLS_ORIGINATED: "difference: a token to a host outside the cluster travels by TLS now",
    DEFAULT_MISSING_TOKEN: "difference: under the policy Exchange a caller without a token is refused on hosts without a rule",
    SERVICE_ACCOUNT: "difference: the old webhook set the service account; set it in the pod template to keep the identity",
    CLIENT_NAME: "difference: the old webhook named clients after ReplicaSets, a new one at every roll-out",
    REGISTRATION_MOVED: "difference: the client is registered by the sidecar, where the old operator did it or nobody",
    OTHER_PREFIX: "difference: labels and annotations of the renamed prefix are not read; kagenti migrate labels renames them",
    ANNOTATION_COUNTS: "difference: an annotation that excludes ports had no effect in that era, and counts here",
    INVERTED_LABEL: 'difference: client-registration-inject: "false" did nothing in that era and opts out here; remove it',
    OLD_SIDECARS: "difference: the pod template holds the old webhook's sidecars; kagenti migrate labels takes them out",
    REFUSED: "difference: kagenti refuses this pod; the message says why and what to do",
    NOT_TRIGGERED: "difference: the old labels do not trigger here; kagenti migrate trigger gives the workload a trigger",
    NEWLY_TRIGGERED: "difference: the old webhook left the workload alone, and a label or AgentRuntime triggers it now",
    OLD_STUCK: "difference: the old pod could not start for want of an object; the new one can",
    NO_EXCHANGE: "difference: the old pod sent tokens on unchanged for want of an audience, scopes or a client",
    UNEXPLAINED: "a difference that the migration does not know: report it before you switch",
}
"""What each code means, for the guide and the reference of reason codes."""
