"""Tokens, verified against the cluster's keys: every way in which one may be wrong, and how often keys are fetched."""

import asyncio
import base64
import json
import logging
from typing import Any

import jwt
import pytest

from kagenti import errors
from kagenti.xds.session import Refused
from kagenti.xds.tokens import JWKS_PATH, Claims, ClusterKeys, TokenVerifier, Unverifiable
from tests.oidc import Key
from tests.unit.xds.cluster import NOW, SIGNER, FakeApi, claims, jwks, token

JSON = Any  # claims

OTHER = Key("somebody")


class Bench:
    """A verifier over an API server by script, with a clock that is turned by hand."""

    def __init__(self, *signers: Key) -> None:
        self.api, self.time = FakeApi({JWKS_PATH: jwks(*(signers or (SIGNER,)))}), 1000.0
        self.keys = ClusterKeys(self.api, logger=logging.Logger("test"), now=lambda: self.time)
        self.verifier = TokenVerifier(self.keys, clock=lambda: NOW)

    async def verify(self, text: str) -> Claims:
        return await self.verifier.verify(text)


async def test_a_pods_token_names_it() -> None:
    """Namespace, account, pod and end of a projected token."""
    assert await Bench().verify(token()) == Claims("team1", "weather", "weather-1", "pod-1", NOW + 3600)


BOUND: JSON = claims()["kubernetes.io"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"aud": ["https://kubernetes.default.svc"]}, "audience"),
        ({"aud": "kagenti-xds-2"}, "audience"),
        ({"aud": None}, "audience"),
        ({"exp": NOW}, "expired"),
        ({"exp": NOW - 3600}, "expired"),
        ({"exp": "tomorrow"}, "expired"),
        ({"exp": None}, "expired"),
        ({"nbf": NOW + 60}, "not valid yet"),
        ({"kubernetes.io": None}, "not bound to a pod"),
        ({"kubernetes.io": {**BOUND, "pod": None}}, "not bound to a pod"),
        ({"kubernetes.io": {**BOUND, "pod": {"name": "weather-1"}}}, "not bound to a pod"),
        ({"kubernetes.io": {**BOUND, "namespace": ["team1"]}}, "not bound to a pod"),
    ],
)
async def test_other_claims_are_refused(overrides: JSON, said: str) -> None:
    """Properly signed, and still no pod's token for us."""
    with pytest.raises(Refused, match=said):
        await Bench().verify(token(**overrides))


async def test_a_forged_signature_is_refused() -> None:
    """Somebody else's key under the cluster's key id."""
    forged = jwt.encode(claims(), OTHER._private, algorithm="RS256", headers={"kid": SIGNER.kid})
    with pytest.raises(Refused, match="signature"):
        await Bench().verify(forged)


async def test_changed_claims_are_refused() -> None:
    """One pod's signature under another's claims."""
    head, _, signature = token().split(".")
    other = claims(**{"kubernetes.io": {**BOUND, "pod": {"name": "other", "uid": "pod-2"}}})
    payload = base64.urlsafe_b64encode(json.dumps(other).encode()).decode().rstrip("=")
    with pytest.raises(Refused, match="signature"):
        await Bench().verify(f"{head}.{payload}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_unsigned_and_symmetric_tokens_are_never_verified(algorithm: str) -> None:
    """The public key of the cluster is no shared secret (RFC 8725 section 2.1)."""
    bench = Bench()
    await bench.verify(token())
    forged = jwt.encode(claims(), "k" * 64 if algorithm == "HS256" else None, algorithm, headers={"kid": SIGNER.kid})
    with pytest.raises(Refused):
        await bench.verify(forged)


@pytest.mark.parametrize("text", ["a.b.c", "..", "eyJ.eyJ.x", "\udcff", f"{'W' * 4000}.{'W1tb' * 2500}.x"])
async def test_garbage_is_no_token(text: str) -> None:
    """Whatever it decodes to, nested thousands deep or not at all."""
    bench = Bench()
    await bench.verify(token())
    with pytest.raises(Refused):
        await bench.verify(text)


async def test_messages_carry_no_token() -> None:
    """Whatever is refused, the log may have it."""
    for text in (token(exp=NOW), token(OTHER), "opaque-secret", token(aud="x"), "x" * 20_000):
        with pytest.raises((Refused, Unverifiable)) as refused:
            await Bench().verify(text)
        assert text not in str(refused.value)


async def test_opaque_tokens_are_refused_once_the_keys_are_known() -> None:
    """A cluster that signs JWTs makes no others; one whose keys cannot be read may."""
    bench = Bench()
    with pytest.raises(Unverifiable):
        await bench.verify("opaque")
    await bench.verify(token())
    with pytest.raises(Refused):
        await bench.verify("opaque")


class TestKeys:
    """How often the API server is asked for its keys."""

    async def test_once_for_many(self) -> None:
        """A storm of connects is one fetch."""
        bench = Bench()
        await asyncio.gather(*(bench.verify(token()) for _ in range(50)))
        assert bench.api.asked == [JWKS_PATH]

    async def test_rotation_is_seen_at_once(self) -> None:
        """A key id that is not known is asked for, and found."""
        bench = Bench()
        await bench.verify(token())
        bench.api.objects[JWKS_PATH] = jwks(SIGNER, OTHER)
        bench.time += 11
        assert (await bench.verify(token(OTHER))).pod_uid == "pod-1"

    async def test_made_up_key_ids_do_not_hammer_it(self) -> None:
        """One fetch in ten seconds, whatever callers write into their headers."""
        bench = Bench()
        for number in range(100):
            bench.time += 0.1
            with pytest.raises(Unverifiable):
                await bench.verify(jwt.encode(claims(), OTHER._private, "RS256", headers={"kid": f"made-up-{number}"}))
        assert bench.keys.fetches <= 2

    async def test_a_withdrawn_key_is_forgotten(self) -> None:
        """After five minutes at the latest."""
        bench = Bench(SIGNER, OTHER)
        await bench.verify(token(OTHER))
        bench.api.objects[JWKS_PATH] = jwks(SIGNER)
        bench.time += 301
        with pytest.raises(Unverifiable):
            await bench.verify(token(OTHER))

    async def test_an_outage_keeps_the_last_set(self) -> None:
        """The API server is away: streams still prove who they are."""
        bench = Bench()
        await bench.verify(token())
        bench.api.objects[JWKS_PATH] = errors.Unreachable("down")
        bench.time += 301
        assert (await bench.verify(token())).pod_uid == "pod-1"

    async def test_odd_keys_are_left_out(self) -> None:
        """A set may hold what we cannot read, or what must never verify."""
        bench = Bench()
        odd = [{"kty": "oct", "k": "c2VjcmV0", "kid": "s"}, {"kty": "RSA"}, 7, {"kty": "new", "kid": "n"}, SIGNER.jwk()]
        bench.api.objects[JWKS_PATH] = {"keys": odd}
        assert (await bench.verify(token())).pod_uid == "pod-1"

    @pytest.mark.parametrize("answer", [errors.NotFound("404"), errors.Forbidden("403"), [], {"keys": []}])
    async def test_without_keys_nothing_is_refused_for_that(self, answer: JSON) -> None:
        """Somebody else may know better: TokenReview."""
        bench = Bench()
        bench.api.objects[JWKS_PATH] = answer
        with pytest.raises(Unverifiable):
            await bench.verify(token())
