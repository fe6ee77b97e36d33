"""A receipt read back: from the very bytes that injection writes, and from what others may have made of them."""

import json
from typing import Any

import pytest

from kagenti import errors
from kagenti.core import receipts
from kagenti.core.settings import ResolvedSettings, resolve
from kagenti.core.settings.pod import for_pod
from tests.unit.core.settings import given

JSON = Any  # a receipt

RECEIPT: JSON = {
    "version": "0.1.0",
    "layout": 1,
    "trigger": "Label",
    "liveRevision": "aaaa",
    "containers": ["envoy-proxy", "proxy-init"],
    "portMapping": {"8080": 8081},
    "probeBypasses": [{"path": "/ready?full=1", "port": 9000}],
    "settings": {"identity.clientRegistration.keycloak.realm": "old", "of.another.version": 1},
}


def _read(**overrides: JSON) -> receipts.Receipt:
    return receipts.parse(json.dumps(RECEIPT | overrides))


def test_says_what_the_pod_was_built_from() -> None:
    """Settings of another version are left out, the rest is there in its types."""
    read = _read()
    assert (read.layout, read.containers) == (1, ("envoy-proxy", "proxy-init"))
    assert (read.port_mapping, read.bypasses) == ({8080: 8081}, (("/ready?full=1", 9000),))
    assert read.restart == {"identity.clientRegistration.keycloak.realm": "old"}


@pytest.mark.parametrize("circumstance", ["trigger", "liveRevision", "injectedAt"])
def test_circumstances_make_no_other_pod(circumstance: str) -> None:
    """Pods that differ in these alone share one snapshot."""
    assert _read(**{circumstance: "other"}).digest == _read().digest


@pytest.mark.parametrize(
    "part", [{"layout": 2}, {"portMapping": {}}, {"settings": {}}, {"containers": ["envoy-proxy"]}]
)
def test_everything_else_does(part: JSON) -> None:
    """What a snapshot is built from is in its key."""
    assert _read(**part).digest != _read().digest


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "{}", "{'a'}", '{"layout": true, "settings": {}}', '{"layout": "1", "settings": {}}',
        json.dumps(RECEIPT | {"odd": "x" * 32768}), '{"layout": 1}', '{"layout": 1, "settings": []}',
        '{"layout": 1, "settings": {}, "x": ' + "[" * 900 + "1" + "]" * 900 + "}",
        *(
            json.dumps(RECEIPT | part)
            for part in (
                {"portMapping": {"8080": 0}}, {"portMapping": {"-1": 80}}, {"portMapping": {"8080": True}},
                {"portMapping": [8080]}, {"portMapping": {"8080": 70000}}, {"portMapping": {"99999": 80}},
                {"portMapping": {str(port): 80 for port in range(1, 18)}},
                {"probeBypasses": {"/x": 80}}, {"probeBypasses": ["/x"]}, {"probeBypasses": [{"path": 1, "port": 80}]},
                {"probeBypasses": [{"path": "/x"}]}, {"probeBypasses": [{"path": "/x", "port": 80}] * 257},
                {"containers": "envoy-proxy"}, {"containers": [1]},
            )
        ),
    ],
)  # fmt: skip
def test_other_forms_are_refused(text: str) -> None:
    """Strict, and without a quotation: the annotation may hold anything."""
    with pytest.raises(errors.ManifestError, match="create the pod anew"):
        receipts.parse(text)


OLD, NEW = "https://old.example", "https://new.example"


def _today(*, namespace: JSON = None, cluster: JSON = None, **policy: JSON) -> ResolvedSettings:
    above = given.cluster({given.URL: NEW, given.ADMIN_SECRET: "a"} | (cluster or {}), **policy)
    found = resolve(above, given.namespace(namespace), None)
    assert not found.errors
    return found


def _refused(today: ResolvedSettings, restart: JSON, *providers: str) -> list[str]:
    return [fault.path for fault in receipts.refused_urls(for_pod(today, restart), today, providers=providers)]


class TestUrls:
    """An identity provider that only the receipt names, and tokens of one that are asked of another."""

    def test_the_same_provider_is_fine(self) -> None:
        """Another realm of a listed server, as after a move of the namespace."""
        assert _refused(_today(), {given.URL: NEW, given.REALM: "old"}, NEW) == []

    def test_an_unlisted_one_is_not(self) -> None:
        """The receipt is an annotation: what it names is judged by today's list."""
        paths = _refused(_today(), {given.URL: OLD}, NEW)
        assert paths == [given.URL, given.ISSUER, given.JWKS_URL, given.TOKEN_URL]

    def test_realms_can_be_listed_one_by_one(self) -> None:
        """A prefix with a path binds the realm too."""
        today = _today(cluster={given.REALM: "a"})
        listed = f"{NEW}/realms/a"
        assert _refused(today, {given.URL: NEW, given.REALM: "a"}, listed) == []
        assert given.ISSUER in _refused(today, {given.URL: NEW, given.REALM: "b"}, listed)

    def test_without_a_list_an_old_server_is_fine(self) -> None:
        """The cluster moved to another server, and pods are replaced in their own time."""
        assert _refused(_today(), {given.URL: OLD}) == []

    @pytest.mark.parametrize(
        ("values", "path"),
        [
            ({given.TOKEN_URL: f"{NEW}/token"}, given.TOKEN_URL),
            (
                {given.RULES: [given.rule("a.example", target={"audience": "a", "tokenUrl": f"{NEW}/token"})]},
                f"{given.RULES}[a.example].target.tokenUrl",
            ),
        ],
    )
    def test_credentials_stay_with_their_issuer(self, values: JSON, path: str) -> None:
        """The pod's client is registered at the old server: its secret must not go to the namespace's new URL."""
        today = _today(namespace=values)
        assert _refused(today, {given.URL: NEW}) == []
        assert _refused(today, {given.URL: OLD}) == [path]
        assert _refused(today, {given.URL: OLD}, OLD, NEW) == []

    def test_the_cluster_may_send_them_where_it_wants(self) -> None:
        """A token URL of the cluster layer is the platform's own choice."""
        assert _refused(_today(cluster={given.TOKEN_URL: f"{NEW}/token"}), {given.URL: OLD}) == []
