"""What a pod gets from its settings: users, modes, ports, environment; one test for each rule of spec 04."""

from typing import Any

import pytest

from kagenti.core.sidecars.environment import env_literal, warnings
from tests.unit.core.inject.given import built, resolved

JSON = Any  # a raw pod or container

POD = {"spec": {"containers": [{"name": "agent", "image": "a", "ports": [{"containerPort": 8081}]}]}}
FEDERATED = {"spiffe": {"enabled": False}, "clientRegistration": {"authType": "federated-jwt"}}


def container(name: str, pod: JSON = POD, **spec: JSON) -> JSON:
    """Returns the container of that name that the pod gets under these settings."""
    made = built(pod, given=resolved(**spec))
    return next(found for found in made.init_containers if found["name"] == name)


def environment(found: JSON) -> dict[str, str]:
    """Returns name → value of a container's literal environment."""
    return {entry["name"]: entry["value"] for entry in found["env"] if "value" in entry}


def test_a_credentials_secret_can_be_read_by_the_proxy() -> None:
    """The kubelet writes Secrets as root:root, and the pod's fsGroup is not touched: only 0444 is readable."""
    spec = {"clientRegistration": {"credentialsSecret": "s"}, "inbound": {"validation": {"audience": "x"}}}
    volumes = built(POD, given=resolved(identity=spec)).volumes
    shared = next(volume for volume in volumes if volume["name"] == "kagenti-shared")
    assert shared["secret"] == {"secretName": "s", "defaultMode": 0o444}


@pytest.mark.parametrize(
    ("audience", "written"),
    [
        ("https://idp.example", '"https://idp.example"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("${", '"\\u0024{"'),
        ("${x}", '"\\u0024{x}"'),
        ("$x{y}", '"$x{y}"'),
        ("%{x}", '"%{x}"'),
    ],
)
def test_the_helpers_file_names_the_audience_as_it_is(audience: str, written: str) -> None:
    """spiffe-helper 0.11.0 reads HCL 1 (hashicorp/hcl v1.0.1-vault-7), with which the expected texts were decoded.

    There a quote behind an open ``${`` ends nothing, and ``$${`` and ``%%{`` are what they look like.
    """
    files = built(POD, given=resolved(identity={"spiffe": {"jwtAudience": audience}})).files
    assert f"{{jwt_audience={written}, jwt_svid_file_name=" in files["config.kagenti.io/helper.conf"]


def test_the_group_stays_whatever_the_proxys_user() -> None:
    """The files under /opt and /shared are 0640 of group 1337."""
    given = {"outbound": {"trafficInterception": {"proxyUid": 2000}}}
    users = container("envoy-proxy", identity=given)["securityContext"]
    assert (users["runAsUser"], users["runAsGroup"]) == (2000, 1337)
    assert environment(container("proxy-init", identity=given))["PROXY_UID"] == "2000"


def test_only_the_helpers_user_with_their_group_is_exempt() -> None:
    """Their own traffic, to the identity provider, always passes (spec 05); user 1000 alone is everybody's."""
    exempt = environment(container("proxy-init"))
    users = [container(name)["securityContext"] for name in ("spiffe-helper", "kagenti-client-registration")]
    pairs = {(str(found["runAsUser"]), str(found["runAsGroup"])) for found in users}
    assert pairs == {(exempt["HELPER_UID"], exempt["HELPER_GID"])} == {("1000", "1337")}


def test_authbridge_starts_both_programs_under_the_pods_own_node_id() -> None:
    """The image's entrypoint would give every pod the node id auth-proxy (reference 1.4, 3.3)."""
    envoy = container("envoy-proxy", injection={"tokenExchange": "AuthBridge"})
    assert envoy["command"][:2] == ["/bin/sh", "-c"]
    assert '--service-node "$NODE_ID"' in envoy["command"][2]
    assert "/usr/local/bin/go-processor" in envoy["command"][2]
    assert environment(envoy)["NODE_ID"] == "$(POD_NAMESPACE)/$(POD_NAME)/$(POD_UID)"
    assert [entry["name"] for entry in envoy["env"]].index("NODE_ID") > 2  # after what it refers to
    assert 9090 in [port["containerPort"] for port in envoy["ports"]]


def test_authbridge_authenticates_by_the_projected_token_without_spiffe() -> None:
    """federated-jwt with SPIFFE off: the assertion is the service-account token for the issuer."""
    envoy = container("envoy-proxy", injection={"tokenExchange": "AuthBridge"}, identity=FEDERATED)
    assert environment(envoy)["JWT_SVID_PATH"] == "/var/run/secrets/kagenti/idp-token"
    with_spiffe = {**FEDERATED, "spiffe": {"enabled": True}}
    other = container("envoy-proxy", injection={"tokenExchange": "AuthBridge"}, identity=with_spiffe)
    assert "JWT_SVID_PATH" not in environment(other)


PROBE = {"httpGet": {"path": "/live?deep=1", "port": "web"}}
SIDE = {"name": "side", "image": "s", "restartPolicy": "Always", "ports": [{"containerPort": 8080, "name": "web"}]}


@pytest.mark.parametrize(
    ("pod", "mapping"),
    [
        (POD, {8080: 8081}),
        ({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 8080}]}]}}, {}),
        (
            {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 8080, "protocol": "UDP"}]}]}},
            {8080: 8081},
        ),
        ({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 9, "hostPort": 8080}]}]}}, {8080: 8081}),
        ({"spec": {"containers": [{"name": "a"}], "initContainers": [SIDE]}}, {}),
        (
            {"spec": {"containers": [{"name": "a"}], "initContainers": [{**SIDE, "restartPolicy": None}]}},
            {8080: 8081},
        ),
    ],
)
def test_the_port_mapping(pod: JSON, mapping: dict[int, int]) -> None:
    """Off where something that runs beside us declares the TCP port itself: containers and native sidecars."""
    assert built(pod).port_mapping == mapping


def test_probes_of_native_sidecars_are_bypasses() -> None:
    """The kubelet asks them like any other; a query is no part of the path."""
    pod = {"spec": {"containers": [{"name": "a"}], "initContainers": [{**SIDE, "readinessProbe": PROBE}]}}
    assert built(pod).bypasses == (("/live", 8080),)


def test_an_https_probe_is_no_bypass() -> None:
    """Envoy cannot see its path."""
    probe = {"httpGet": {"path": "/live", "port": 8081, "scheme": "HTTPS"}}
    assert built({"spec": {"containers": [{"name": "a", "livenessProbe": probe}]}}).bypasses == ()


@pytest.mark.parametrize("identity", [{"enabled": False}, {"inbound": {"enabled": False}}])
def test_nothing_is_mapped_where_inbound_is_not_validated(identity: JSON) -> None:
    """Neither mapping nor bypasses are recorded, although Envoy is there for tracing."""
    made = built(POD, given=resolved(identity=identity))
    assert (made.proxied, made.port_mapping, made.bypasses) == (True, None, None)


def test_settings_do_not_read_the_apps_environment() -> None:
    """A literal dollar sign is escaped, in the app's containers and in ours (Kubernetes: ``$$`` is ``$``)."""
    spec = {
        "trace": {"integration": {"mlflow": {"enabled": True, "trackingUri": "http://e/$(OPENAI_API_KEY)"}}},
        "injection": {"tokenExchange": "AuthBridge"},
        "identity": {
            "clientRegistration": {"keycloak": {"platformClientIds": ["a$(KEYCLOAK_ADMIN_PASSWORD)"]}},
            "inbound": {"validation": {"audience": "b$(POD_UID)"}},
        },
    }
    assert built(POD, given=resolved(**spec)).environment["MLFLOW_TRACKING_URI"] == "http://e/$$(OPENAI_API_KEY)"
    registration = environment(container("kagenti-client-registration", **spec))
    assert registration["PLATFORM_CLIENT_IDS"] == "a$$(KEYCLOAK_ADMIN_PASSWORD)"
    bridge = environment(container("envoy-proxy", **spec))
    assert bridge["EXPECTED_AUDIENCE"] == "b$$(POD_UID)"


def test_env_literal_doubles() -> None:
    """Every dollar sign, the escaped ones too."""
    assert env_literal("a$b$$c") == "a$$b$$$$c"


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.1, "0.1"), (1, "1"), (0, "0"), (0.00001234567, "0.00001234567"), (0.123456789012, "0.123456789012")],
)
def test_the_sampling_rate_is_written_exactly(rate: float, text: str) -> None:
    """Every digit, and never an exponent."""
    made = built(POD, given=resolved(trace={"sampling": {"rate": rate}}))
    assert made.environment["OTEL_TRACES_SAMPLER_ARG"] == text


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("jaeger:14250", True),
        ("http://jaeger:14250", True),
        ("http://jaeger:14250/", True),
        ("http://jaeger:4317/", False),
        ("http://jaeger:4317/x:14250", False),
    ],
)
def test_the_old_jaeger_port_is_told(endpoint: str, told: bool) -> None:
    """However the endpoint is written."""
    given = resolved(trace={"exporters": [{"type": "jaeger", "endpoint": endpoint}]})
    assert any("14250" in warning for warning in warnings(given)) == told
