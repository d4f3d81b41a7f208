"""Our tokens: what verifies, what does not, and which files hold a key."""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from kernel.clock import wall_now
from kernel.errors import Unauthenticated
from kernel.rpc.caller import Caller, Role
from kernel.rpc.tokens import AUDIENCE, ISSUER
from kernel.settings import SettingsError
from services.identity.keys import KeySet, load_key_set

_KEY = ec.generate_private_key(ec.SECP256R1())
_HOUR = dt.timedelta(hours=1)


def _claims(**changes: object) -> dict[str, object]:
    now = int(wall_now().timestamp())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ST1", "roles": ["HOLDER"], "iat": now, "exp": now + 600}
    return {name: value for name, value in (claims | changes).items() if value is not None}


def _key_id(keys: KeySet) -> str:
    return str(json.loads(keys.jwks_json)["keys"][0]["kid"])


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unsigned(algorithm: str, key_id: str) -> str:
    header = json.dumps({"alg": algorithm, "typ": "JWT", "kid": key_id}).encode()
    return f"{_encoded(header)}.{_encoded(json.dumps(_claims()).encode())}"


def _pem(path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> Path:
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path.chmod(0o600)
    return path


async def test_an_issued_token_names_its_caller() -> None:
    """Principal, roles and session come back."""
    keys, now = KeySet(_KEY), wall_now()
    token = keys.issue("ST1", ["HOLDER", "OPERATOR"], "s1", now, now + _HOUR)
    assert await keys.verify(token) == Caller("ST1", frozenset({Role.HOLDER, Role.OPERATOR}), "s1")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"iss": None},
        {"aud": None},
        {"sub": None},
        {"iat": None},
        {"exp": None},
        {"roles": None},
        {"roles": ["ADMIN"]},
        {"iat": 2**40},
    ],
)
async def test_wrong_claims_are_refused(changes: dict[str, object]) -> None:
    """Foreign issuer or audience, a missing claim, an unknown role, a token of the future: INVALID_TOKEN."""
    keys = KeySet(_KEY)
    token = jwt.encode(_claims(**changes), _KEY, "ES256", headers={"kid": _key_id(keys)})
    with pytest.raises(Unauthenticated) as refused:
        await keys.verify(token)
    assert refused.value.reason == "INVALID_TOKEN"


async def test_an_expired_token_is_refused_as_such() -> None:
    """Six seconds after its end: TOKEN_EXPIRED, so that a client knows to refresh."""
    keys, now = KeySet(_KEY), wall_now()
    token = keys.issue("ST1", ["HOLDER"], "", now - _HOUR, now - dt.timedelta(seconds=6))
    with pytest.raises(Unauthenticated) as refused:
        await keys.verify(token)
    assert refused.value.reason == "TOKEN_EXPIRED"


async def test_no_other_algorithm_is_accepted() -> None:
    """Unsigned tokens, and tokens signed with the public key as an HMAC secret, are refused."""
    keys = KeySet(_KEY)
    public = _KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    unsigned = _unsigned("none", _key_id(keys))
    confused = _unsigned("HS256", _key_id(keys))
    signature = _encoded(hmac.digest(public, confused.encode(), "sha256"))
    for token in (f"{unsigned}.", f"{confused}.{signature}"):
        with pytest.raises(Unauthenticated) as refused:
            await keys.verify(token)
        assert refused.value.reason == "INVALID_TOKEN"


async def test_a_changed_token_is_refused() -> None:
    """Roles exchanged under an honest signature, a foreign key under our key id, and plain noise."""
    keys, now = KeySet(_KEY), wall_now()
    header, _, signature = keys.issue("ST1", ["HOLDER"], "", now, now + _HOUR).split(".")
    payload = _encoded(json.dumps(_claims(roles=["OPERATOR"])).encode())
    foreign = jwt.encode(_claims(), ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": _key_id(keys)})
    for token in (f"{header}.{payload}.{signature}", foreign, "", "a.b.c", "noise"):
        with pytest.raises(Unauthenticated):
            await keys.verify(token)


async def test_keys_of_the_set_verify_and_others_do_not() -> None:
    """While keys are exchanged the old one verifies; afterwards it does not."""
    old, now = KeySet(_KEY), wall_now()
    token = old.issue("ST1", ["HOLDER"], "", now, now + _HOUR)
    new = ec.generate_private_key(ec.SECP256R1())
    assert (await KeySet(new, [_KEY.public_key()]).verify(token)).principal == "ST1"
    with pytest.raises(Unauthenticated) as refused:
        await KeySet(new).verify(token)
    assert refused.value.reason == "UNKNOWN_KEY"


def test_a_key_id_is_the_keys_own() -> None:
    """Replicas that hold one key publish one id; the set holds no private part."""
    keys = json.loads(KeySet(_KEY).jwks_json)["keys"]
    assert keys == json.loads(KeySet(_KEY).jwks_json)["keys"]
    assert set(keys[0]) == {"kty", "crv", "x", "y", "kid", "alg", "use"}


def test_only_p256_keys_are_loaded(tmp_path: Path) -> None:
    """Another curve, another kind of key, a public key and noise are refused by name."""
    good = _pem(tmp_path / "good.pem", _KEY)
    public = tmp_path / "public.pem"
    public.write_bytes(
        _KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    public.chmod(0o600)
    noise = tmp_path / "noise.pem"
    noise.write_text("noise")
    noise.chmod(0o600)
    other_curve = _pem(tmp_path / "p384.pem", ec.generate_private_key(ec.SECP384R1()))
    other_kind = _pem(tmp_path / "ed25519.pem", ed25519.Ed25519PrivateKey.generate())
    for bad in (public, noise, other_curve, other_kind, tmp_path / "missing"):
        with pytest.raises(SettingsError, match="JWT_KEY_FILE"):
            load_key_set(bad, ())
    for bad in (noise, other_curve, other_kind, tmp_path / "missing"):
        with pytest.raises(SettingsError, match="JWT_OTHER_KEY_FILES"):
            load_key_set(good, [bad])
    assert load_key_set(good, [public]).jwks_json
