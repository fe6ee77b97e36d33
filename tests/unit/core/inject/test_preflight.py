"""What is refused, and what is admitted with a warning: one row for each rule, with its reason and its field."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from kagenti.core import inject, sidecars
from kagenti.core import settings as layering
from kagenti.core.inject.probes import allows
from kagenti.core.installation import Installation
from kagenti.core.settings import ResolvedSettings
from kagenti.core.workload import Subject, WorkloadRef
from tests.unit.core.inject.given import OWNER, RESOLVED, built, injected, resolved

JSON = Any  # a raw pod

CONTAINER = {"name": "agent", "image": "ghcr.io/example/weather-agent:v1", "ports": [{"containerPort": 8081}]}
SIDE = {"name": "side", "image": "example/side:1", "restartPolicy": "Always"}
NO_ENVOY = resolved(components={"envoyProxy": {"enabled": False}})
NO_INIT = "kagenti.io/proxy-init-inject"
BRIDGE = resolved(injection={"tokenExchange": "AuthBridge"})
LOCKED = ("identity.inbound.validation.bypassPaths",)


def pod(*, annotations: JSON = None, labels: JSON = None, **spec: JSON) -> JSON:
    """A pod with one app container, changed by ``spec``."""
    return {
        "metadata": {"labels": labels or {"app": "a"}, "annotations": annotations or {"n": "1"}},
        "spec": {"containers": [CONTAINER], **spec},
    }


def app(**changes: JSON) -> JSON:
    """A pod whose app container is changed so."""
    return pod(containers=[{**CONTAINER, **changes}])


def checked(
    found: JSON,
    given: ResolvedSettings = RESOLVED,
    *,
    mandatory: bool = False,
    labels: Mapping[str, str] | None = None,
    locked: tuple[str, ...] = (),
) -> inject.Refusal | tuple[str, ...]:
    """Returns the refusal, or every warning."""
    made = built(found, given=given, locked=locked)
    result = inject.preflight(
        Subject(OWNER, found), made, given, mandatory=mandatory, namespace_labels=labels or {}, locked=locked
    )
    return result if isinstance(result, inject.Refusal) else (*made.warnings, *result)


def outcome(found: JSON, given: ResolvedSettings = RESOLVED, **how: Any) -> tuple[str, str] | tuple[()]:
    """Returns (reason, field) of the refusal, or nothing."""
    result = checked(found, given, **how)
    return (result.reason, result.field) if isinstance(result, inject.Refusal) else ()


def told(found: JSON, given: ResolvedSettings = RESOLVED, **how: Any) -> str:
    """Returns the warnings as one text; asserts that the pod is not refused."""
    result = checked(found, given, **how)
    assert not isinstance(result, inject.Refusal), result
    return " | ".join(result)


def context(*, add: JSON = None, drop: JSON = None, **fields: JSON) -> JSON:
    """A security context with capabilities."""
    return {"capabilities": {"add": add or [], "drop": drop or []}, **fields}


FIELD = "spec.containers[0].securityContext"


@pytest.mark.parametrize(
    ("found", "field"),
    [
        (app(securityContext=context(add=["NET_ADMIN"])), f"{FIELD}.capabilities.add"),
        (app(securityContext=context(add=["net_admin"])), f"{FIELD}.capabilities.add"),
        (app(securityContext=context(add=["CAP_NET_ADMIN"])), f"{FIELD}.capabilities.add"),
        (app(securityContext=context(add=["cap_net_admin"])), f"{FIELD}.capabilities.add"),
        (app(securityContext=context(add=["all"], drop=["ALL"])), f"{FIELD}.capabilities.add"),
        (app(securityContext={"privileged": True}), f"{FIELD}.privileged"),
        (app(securityContext={"runAsUser": 0}), f"{FIELD}.runAsUser"),
        (app(securityContext=context(runAsUser=0, drop=["NET_RAW"])), f"{FIELD}.runAsUser"),
        (app(securityContext=context(runAsUser=0, add=["setuid"], drop=["ALL"])), f"{FIELD}.runAsUser"),
        (pod(securityContext={"runAsUser": 0}), f"{FIELD}.runAsUser"),
        (
            pod(securityContext={"runAsUser": 0}, containers=[{**CONTAINER, "securityContext": {"runAsUser": None}}]),
            f"{FIELD}.runAsUser",
        ),
        (app(securityContext=context(add=["SETUID"])), f"{FIELD}.capabilities.add"),
        (pod(hostPID=True), "spec.hostPID"),
        (pod(shareProcessNamespace=True), "spec.shareProcessNamespace"),
        (
            pod(initContainers=[{"name": "i", "image": "i", "securityContext": {"privileged": True}}]),
            "spec.initContainers[0].securityContext.privileged",
        ),
    ],
)
def test_interception_is_not_enforced(found: JSON, field: str) -> None:
    """A warning, and under Mandatory a refusal that names the field; neither where nothing is intercepted."""
    assert "InterceptionNotEnforced" in told(found)
    assert outcome(found, mandatory=True) == ("InterceptionNotEnforced", field)
    assert "InterceptionNotEnforced" not in told(found, NO_ENVOY, mandatory=True)


@pytest.mark.parametrize(
    "found",
    [
        app(),
        app(securityContext=context(runAsUser=0, drop=["ALL"])),
        app(securityContext=context(runAsUser=0, drop=["cap_setuid"])),
        app(securityContext={"runAsUser": 1000}),
        app(securityContext=context(runAsUser=1000, add=["SETUID"])),
        app(securityContext=context(add=["NET_BIND_SERVICE"])),
        {
            "spec": {
                "securityContext": {"runAsUser": 0},
                "containers": [{**CONTAINER, "securityContext": {"runAsUser": 5}}],
            }
        },
    ],
)
def test_interception_is_enforced(found: JSON) -> None:
    """Nothing is said of apps that cannot undo it."""
    assert outcome(found, mandatory=True) == ()
    assert "InterceptionNotEnforced" not in told(found)


PORTS = "spec.containers[0].ports[0]"
EXCLUDE = "kagenti.io/inbound-ports-exclude"


@pytest.mark.parametrize(
    ("found", "given", "expected"),
    [
        (app(ports=[{"containerPort": 15123}]), RESOLVED, ("PortCollision", f"{PORTS}.containerPort")),
        (
            app(ports=[{"containerPort": 15124, "protocol": "TCP"}]),
            RESOLVED,
            ("PortCollision", f"{PORTS}.containerPort"),
        ),
        (app(ports=[{"containerPort": 15021}]), RESOLVED, ("PortCollision", f"{PORTS}.containerPort")),
        (
            pod(initContainers=[{**SIDE, "ports": [{"containerPort": 15123}]}]),
            RESOLVED,
            ("PortCollision", "spec.initContainers[0].ports[0].containerPort"),
        ),
        (pod(initContainers=[{"name": "i", "image": "i", "ports": [{"containerPort": 15123}]}]), RESOLVED, ()),
        (app(ports=[{"containerPort": 15123, "protocol": "UDP"}]), RESOLVED, ()),
        (app(ports=[{"containerPort": 9000, "hostPort": 15021}]), RESOLVED, ()),
        (app(ports=[{"containerPort": 9090}]), RESOLVED, ()),
        (app(ports=[{"containerPort": 9090}]), BRIDGE, ("PortCollision", f"{PORTS}.containerPort")),
        (
            pod(annotations={EXCLUDE: "8082,9090"}),
            BRIDGE,
            ("PortCollision", f"metadata.annotations[{EXCLUDE}]"),
        ),
        (pod(annotations={EXCLUDE: "9090"}), RESOLVED, ()),
        (pod(labels={NO_INIT: "false"}), BRIDGE, ("PortCollision", f"metadata.labels[{NO_INIT}]")),
        (pod(labels={NO_INIT: "false"}), RESOLVED, ()),
        (app(ports=[{"containerPort": 15123}]), NO_ENVOY, ()),
        (
            app(ports=[{"containerPort": 8081, "name": "envoy-status"}]),
            RESOLVED,
            ("PortCollision", f"{PORTS}.name"),
        ),
        (app(securityContext={"runAsUser": 1337}), RESOLVED, ("ProxyUid", f"{FIELD}.runAsUser")),
        (pod(securityContext={"runAsUser": 1337}), RESOLVED, ("ProxyUid", "spec.securityContext.runAsUser")),
        (app(securityContext={"runAsUser": 1337}), NO_ENVOY, ()),
        (
            app(securityContext={"runAsUser": 1000, "runAsGroup": 1337}),
            RESOLVED,
            ("ProxyUid", f"{FIELD}.runAsUser"),
        ),
        (
            pod(securityContext={"runAsUser": 1000, "supplementalGroups": [1337]}),
            RESOLVED,
            ("ProxyUid", "spec.securityContext.runAsUser"),
        ),
        (
            pod(securityContext={"runAsUser": 1000, "fsGroup": 1337}),
            RESOLVED,
            ("ProxyUid", "spec.securityContext.runAsUser"),
        ),
        (
            pod(
                securityContext={"runAsUser": 1337}, containers=[{**CONTAINER, "securityContext": {"runAsUser": None}}]
            ),
            RESOLVED,
            ("ProxyUid", "spec.securityContext.runAsUser"),
        ),
        (app(securityContext={"runAsUser": 1000, "runAsGroup": 1000}), RESOLVED, ()),
        (app(securityContext={"runAsUser": 1001, "runAsGroup": 1337}), RESOLVED, ()),
        (pod(volumes=[{"name": "kagenti-svid", "emptyDir": {}}]), RESOLVED, ("ReservedName", "spec.volumes[0].name")),
        (pod(volumes=[{"name": "kagenti-data", "emptyDir": {}}]), RESOLVED, ()),
        (
            app(volumeMounts=[{"name": "kagenti-shared", "mountPath": "/s"}]),
            RESOLVED,
            ("ReservedName", "spec.containers[0].volumeMounts[0].name"),
        ),
        (
            pod(containers=[CONTAINER, {"name": "envoy-proxy", "image": "i"}]),
            RESOLVED,
            ("ReservedName", "spec.containers[1].name"),
        ),
    ],
)
def test_what_collides_with_ours(found: JSON, given: ResolvedSettings, expected: Any) -> None:
    """Ports, port names, the user and reserved names; only where what they collide with is injected."""
    assert outcome(found, given) == expected


def test_another_proxy_user() -> None:
    """The rule follows the setting."""
    other = resolved(identity={"outbound": {"trafficInterception": {"proxyUid": 2000}}})
    assert outcome(app(securityContext={"runAsUser": 2000}), other)[:1] == ("ProxyUid",)
    assert outcome(app(securityContext={"runAsUser": 1337}), other) == ()


@pytest.mark.parametrize(
    ("found", "field"),
    [
        (
            pod(annotations={"kagenti.io/inbound-ports-exclude": "1\n2"}),
            "metadata.annotations[kagenti.io/inbound-ports-exclude]",
        ),
        (
            app(livenessProbe={"httpGet": {"path": "/a\n/b", "port": 8081}}),
            "spec.containers[0].livenessProbe.httpGet.path",
        ),
        (pod(serviceAccountName="a\x00b"), "spec.serviceAccountName"),
        (pod(containers=[{**CONTAINER, "name": "a\nb"}]), "spec.containers[0].name"),
    ],
)
def test_no_control_character_is_copied(found: JSON, field: str) -> None:
    """Nothing that we copy from the pod holds one."""
    assert outcome(found) == ("InvalidValue", field)


def test_no_control_character_comes_by_a_name() -> None:
    """What we write into environments is checked as it comes out: a file may call its workload anything."""
    subject = Subject(WorkloadRef("apps", "Deployment", "team1", "wea\nther"), pod())
    values = layering.values_for(RESOLVED, owner=subject.owner, service_account="default")
    made = sidecars.build(RESOLVED, subject=subject, values=values, installation=Installation())
    result = inject.preflight(subject, made, RESOLVED, mandatory=False, namespace_labels={})
    assert isinstance(result, inject.Refusal)
    assert (result.reason, "CLIENT_NAME" in result.message) == ("InvalidValue", True)


@pytest.mark.parametrize(
    ("level", "given", "says"),
    [
        ("baseline", RESOLVED, ["NET_ADMIN and NET_RAW", "components.proxyInit"]),
        ("restricted", RESOLVED, ["NET_ADMIN and NET_RAW", "root user"]),
        (
            "baseline",
            resolved(identity={"spiffe": {"source": "HostPath"}}, components={"proxyInit": {"enabled": False}}),
            ["hostPath volume kagenti-workload-api", "identity.spiffe.source CSI"],
        ),
        ("baseline", resolved(identity={"spiffe": {"source": "HostPath"}}), ["NET_ADMIN", "hostPath"]),
        ("baseline", NO_ENVOY, []),
        ("restricted", resolved(components={"proxyInit": {"enabled": False}}), []),
        ("privileged", RESOLVED, []),
    ],
)
def test_pod_security_names_the_failing_controls(level: str, given: ResolvedSettings, says: list[str]) -> None:
    """Every control that what we add breaks, and the way out of each."""
    result = checked(pod(), given, labels={"pod-security.kubernetes.io/enforce": level})
    assert isinstance(result, inject.Refusal) == bool(says)
    if isinstance(result, inject.Refusal):
        assert result.reason == "PodSecurity"
        assert [word for word in says if word not in result.message] == []


PROBE = {"httpGet": {"path": "/s", "port": 8081}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (app(livenessProbe=PROBE), ("ConfigInvalid", "spec.containers[0].livenessProbe.httpGet.path")),
        (
            pod(initContainers=[{**SIDE, "startupProbe": PROBE}]),
            ("ConfigInvalid", "spec.initContainers[0].startupProbe.httpGet.path"),
        ),
        (app(livenessProbe={"httpGet": {"path": "/healthz?x=1", "port": 8081}}), ()),
        (app(livenessProbe={"httpGet": {"path": "/.well-known/agent.json", "port": 8081}}), ()),
        (
            app(livenessProbe={"httpGet": {"path": "/.well-known/..", "port": 8081}}),
            ("ConfigInvalid", "spec.containers[0].livenessProbe.httpGet.path"),
        ),
    ],
)
def test_a_locked_list_binds_probes(found: JSON, expected: Any) -> None:
    """Where bypassPaths is locked, a probe opens no path of its own; unlocked, it does."""
    assert outcome(found, locked=LOCKED) == expected
    assert outcome(found) == ()


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/.well-known/agent.json", True),
        ("/.well-known/agent.json?x=/../", True),
        ("/.well-known/a.b~c-d_e", True),
        ("/.well-known/", False),
        ("/.well-known/.hidden", False),
        ("/.well-known/..", False),
        ("/.well-known/..%2fadmin", False),
        ("/.well-known/a/b", False),
        ("/.well-known/a;x", False),
        ("/.well-knownagent", False),
        ("/other", False),
    ],
)
def test_a_star_is_one_safe_segment(path: str, allowed: bool) -> None:
    """What a server could read as another path is not covered."""
    assert allows("/.well-known/*", path) == allowed


@pytest.mark.parametrize(
    ("probe", "says"),
    [
        ({"tcpSocket": {"port": 8081}}, "is a tcp probe: through Envoy it proves less"),
        ({"grpc": {"port": 8081}}, "is a grpc probe: it brings no token"),
        ({"httpGet": {"path": "/", "port": 8081, "scheme": "HTTPS"}}, "is an https probe: Envoy refuses TLS"),
    ],
)
def test_opaque_probes_are_told(probe: JSON, says: str) -> None:
    """Of containers and native sidecars alike; not on excluded ports, and not where inbound is off."""
    found = app(readinessProbe=probe)
    assert says in told(found)
    assert "exclude port 8081" in told(found)
    assert says in told(pod(initContainers=[{**SIDE, "readinessProbe": probe}]))
    assert says not in told(found, resolved(identity={"inbound": {"excludePorts": [8081]}}))
    assert says not in told(found, resolved(identity={"inbound": {"enabled": False}}))
    excluded = pod(annotations={"kagenti.io/inbound-ports-exclude": "8081"}, containers=found["spec"]["containers"])
    assert says not in told(excluded)


HOOK = {"httpGet": {"path": "/drain?now", "port": 8081}}


@pytest.mark.parametrize("hook", ["postStart", "preStop"])
def test_http_hooks_that_the_app_never_hears_of_are_told(hook: str) -> None:
    """The kubelet sends no token and takes any answer for success."""
    found = app(lifecycle={hook: HOOK})
    says = f"{hook} of container 'agent' is an httpGet hook"
    assert says in told(found)
    assert "exclude port 8081" in told(found)
    assert says not in told(found, resolved(identity={"inbound": {"excludePorts": [8081]}}))
    assert says not in told(found, resolved(identity={"inbound": {"enabled": False}}))
    assert says not in told(found, resolved(identity={"inbound": {"validation": {"bypassPaths": ["/drain"]}}}))


@pytest.mark.parametrize(
    ("reason", "container"),
    [
        ("a probe opens that very path and port", {"lifecycle": {"preStop": HOOK}, "livenessProbe": HOOK}),
        ("another host is asked", {"lifecycle": {"preStop": {"httpGet": {"host": "10.0.0.1", "port": 8081}}}}),
        (
            "no HTTP",
            {"lifecycle": {"preStop": {"exec": {"command": ["true"]}}, "postStart": {"sleep": {"seconds": 1}}}},
        ),
    ],
)
def test_other_hooks_are_not_told(reason: str, container: JSON) -> None:
    """Nothing is said of a hook that works."""
    assert "httpGet hook" not in told(app(**container)), reason


def test_a_pod_that_would_wait_for_ever_is_refused() -> None:
    """Opting out of spiffe-helper alone leaves client registration without an SVID; together they may go."""
    alone = {"kagenti.io/spiffe-helper-inject": "false"}
    assert outcome(pod(labels=alone)) == ("ConfigInvalid", "metadata.labels[kagenti.io/spiffe-helper-inject]")
    assert outcome(pod(labels=alone), resolved(identity={"spiffe": {"enabled": False}})) == ()
    assert outcome(pod(labels={**alone, "kagenti.io/client-registration-inject": "false"})) == ()
    federated = resolved(identity={"clientRegistration": {"authType": "federated-jwt"}})
    assert outcome(pod(labels={**alone, "kagenti.io/client-registration-inject": "false"}), federated) != ()


@pytest.mark.parametrize(
    ("text", "locked", "says"),
    [
        ("9" * 5000, (), "'999999999999', which is no port"),
        ("11434,abc,0,65536", (), "'abc', '0', '65536'"),
        ("8081", ("identity.inbound.excludePorts",), f"annotation {EXCLUDE} has no effect"),
        ("8081, 8082,", (), ""),
        ("", ("identity.inbound.excludePorts",), ""),
    ],
)
def test_what_an_annotation_says_in_vain_is_told(text: str, locked: tuple[str, ...], says: str) -> None:
    """Tokens that are no ports, and ports that a lock or Mandatory keeps from having effect."""
    warnings = told(pod(annotations={EXCLUDE: text}), locked=locked)
    assert says in warnings
    assert (EXCLUDE in warnings) == bool(says)


OPT_OUT = "kagenti.io/envoy-proxy-inject"
ENVOY = "components.envoyProxy.enabled"


@pytest.mark.parametrize(
    ("value", "locked", "says"),
    [
        ("false", (ENVOY,), f"label {OPT_OUT} has no effect: {ENVOY} is locked, or Mandatory binds it"),
        ("False", (), f'label {OPT_OUT} is "False", which means nothing'),
        ("disabled", (ENVOY,), f'label {OPT_OUT} is "disabled", which means nothing'),
        ("false", (), ""),
        ("true", (ENVOY,), ""),
    ],
)
def test_what_an_opt_out_says_in_vain_is_told(value: str, locked: tuple[str, ...], says: str) -> None:
    """An opt-out that a lock or Mandatory overrules, and a value that is no opt-out, as with the annotations."""
    warnings = told(pod(labels={OPT_OUT: value}), locked=locked)
    assert says in warnings
    assert (OPT_OUT in warnings) == bool(says)


STAMPED = inject.Stamp("Label", "2026-11-24T12:00:00Z", "0.1.0", 1)


@pytest.mark.parametrize(("characters", "refused"), [(10_000, False), (21_000, False), (22_000, True)])
def test_too_many_bytes_of_files(characters: int, refused: bool) -> None:
    """All files together are at most 64 KiB, counted in bytes: three for each of these characters."""
    made = dataclasses.replace(built(pod()), files={"config.kagenti.io/envoy.yaml": "日" * characters})
    result = inject.inject(Subject(OWNER, pod()), made, settings=RESOLVED, stamp=STAMPED)
    assert isinstance(result, inject.Refusal) == refused
    if isinstance(result, inject.Refusal):
        assert (result.reason, result.field) == ("TooLarge", "metadata.annotations")
        assert f"files of {3 * characters} bytes" in result.message


@pytest.mark.parametrize(("characters", "refused"), [(2_000, False), (6_000, False), (11_000, True)])
def test_too_many_bytes_of_receipt(characters: int, refused: bool) -> None:
    """A receipt is at most 32 KiB, counted in bytes."""
    attributes = {f"k{number}": "日" * (characters // 10) for number in range(10)}
    given = resolved(trace={"resourceAttributes": attributes})
    result = inject.inject(Subject(OWNER, pod()), built(pod(), given=given), settings=given, stamp=STAMPED)
    assert isinstance(result, inject.Refusal) == refused
    if isinstance(result, inject.Refusal):
        assert (result.reason, "a receipt of 3" in result.message) == ("TooLarge", True)


def test_a_receipt_in_front_of_our_names_is_no_pass_for_containers() -> None:
    """Ours are never among the containers, whatever a receipt says."""
    found = injected(pod())
    found["spec"]["containers"].append({"name": "envoy-proxy", "image": "i"})
    assert outcome(found) == ("ReservedName", "spec.containers[1].name")
