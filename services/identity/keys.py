"""The keys of our tokens: one signs, all verify; published as a JSON Web Key Set (RFC 7517)."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from kernel.errors import Unauthenticated
from kernel.ids import new_id
from kernel.rpc.caller import Caller
from kernel.rpc.tokens import AUDIENCE, ISSUER, decode_token
from kernel.secret_file import read_secret_file
from kernel.settings import SettingsError

_ALGORITHM: Final = "ES256"


class KeySet:
    """Signs tokens with one P-256 key and verifies those of any key of the set; a `TokenVerifier` of our own."""

    def __init__(self, signing: ec.EllipticCurvePrivateKey, others: Iterable[ec.EllipticCurvePublicKey] = ()) -> None:
        self._signing = signing
        documents = [_public_jwk(key) for key in (signing.public_key(), *others)]
        self._key_id: str = documents[0]["kid"]
        self._keys = {document["kid"]: jwt.PyJWK(document) for document in documents}
        self.jwks_json = json.dumps({"keys": documents}, separators=(",", ":"))

    def issue(
        self, principal: str, roles: Sequence[str], session_id: str, now: dt.datetime, expire_time: dt.datetime
    ) -> str:
        """A signed token; `session_id` is empty for a service."""
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": principal,
            "roles": list(roles),
            "iat": int(now.timestamp()),
            "exp": int(expire_time.timestamp()),
            "jti": new_id(),
        }
        if session_id:
            claims["sid"] = session_id
        return jwt.encode(claims, self._signing, _ALGORITHM, headers={"kid": self._key_id})

    async def verify(self, token: str) -> Caller:
        """The caller of a token of ours; Unauthenticated otherwise."""
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("INVALID_TOKEN", "the token is malformed") from error
        key = self._keys.get(str(key_id))
        if key is None:
            raise Unauthenticated("UNKNOWN_KEY", "the token is signed with a key that is not ours")
        return decode_token(token, key)


def load_key_set(signing: Path, others: Iterable[Path]) -> KeySet:
    """From PEM files; SettingsError for a file that others may read or that holds no P-256 key."""
    pem = read_secret_file(signing, "JWT_KEY_FILE")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise SettingsError(f"JWT_KEY_FILE: {signing} holds no private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SettingsError(f"JWT_KEY_FILE: {signing} holds no P-256 key")
    return KeySet(key, [_load_public_key(path) for path in others])


def _load_public_key(path: Path) -> ec.EllipticCurvePublicKey:
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"JWT_OTHER_KEY_FILES: cannot open {path}: {error.strerror}") from None
    try:
        if b"PRIVATE KEY" in pem:
            private = serialization.load_pem_private_key(pem, password=None)
            key = private.public_key()
        else:
            key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError):
        raise SettingsError(f"JWT_OTHER_KEY_FILES: {path} holds no key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SettingsError(f"JWT_OTHER_KEY_FILES: {path} holds no P-256 key")
    return key


def _public_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    document = ECAlgorithm.to_jwk(key, as_dict=True)
    # The key id is the RFC 7638 thumbprint: the same key has the same id in every replica.
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    return {**document, "kid": thumbprint, "alg": _ALGORITHM, "use": "sig"}
