"""A key that lives in AWS KMS: asked for signatures, never seen.

KMS answers DER and does not say which of two keys a signature recovers to, nor does it keep to low-s; Stacks wants
R || S || V with low-s, so both are worked out here (AWS KMS API reference: GetPublicKey, Sign; SEC 1, 4.1.6).
"""

from __future__ import annotations

import re
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from kernel.errors import Unavailable
from kernel.settings import SettingsError
from services.chain_gateway.stacks.c32 import Address
from services.chain_gateway.stacks.errors import CodecError, SignatureError
from services.chain_gateway.stacks.keys import ORDER, address_of, check_signature, recover

_SPEC: Final = "ECC_SECG_P256K1"
_USAGE: Final = "SIGN_VERIFY"
_ALGORITHM: Final = "ECDSA_SHA_256"
_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:(?:key|alias)/.+")
# Retries wait a random part of 1, 2, ... seconds; the whole of it stays well below what a lock may be held.
_CONFIG: Final = Config(
    connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3}, max_pool_connections=8
)
_BUSY: Final = {
    "DependencyTimeoutException",
    "KMSInternalException",
    "KeyUnavailableException",
    "LimitExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailableException",
    "ThrottlingException",
}


class KmsSigner:
    """Signs with a key in AWS KMS of the spec ECC_SECG_P256K1; safe to use from several threads."""

    is_remote: Final = True

    def __init__(self, client: Any, key_id: str) -> None:
        """`client`: botocore's for kms. Asks for the public key; SettingsError when the key cannot serve."""
        self._client = client
        self._key_id = key_id
        self._public_key = _public_key(client, key_id)

    @classmethod
    def open(cls, key_id: str) -> KmsSigner:
        """A key by id, ARN, or alias. The region is the ARN's or, as the credentials, AWS's usual configuration."""
        arn = _ARN.fullmatch(key_id)
        try:
            session = botocore.session.get_session()
            client = session.create_client("kms", region_name=arn[1] if arn else None, config=_CONFIG)
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(f"awskms:{key_id}: {error}") from None
        return cls(client, key_id)

    @property
    def public_key(self) -> bytes:
        """33 bytes."""
        return self._public_key

    def address(self, version: int) -> Address:
        """The key's account under an address version."""
        return address_of(self._public_key, version)

    def sign_digest(self, digest: bytes) -> bytes:
        """Signs 32 bytes; answers R || S || V, low-s. A network round trip, some seconds long at the worst.

        Unavailable with SIGNER_BUSY when KMS throttles or fails, SIGNER_UNREACHABLE when it does not answer,
        SIGNER_REFUSES when somebody has to look at the key or its grants, SIGNER_WRONG for an answer of no use.
        """
        if len(digest) != 32:
            raise CodecError("a digest has 32 bytes")
        try:
            answer = self._client.sign(
                KeyId=self._key_id, Message=digest, MessageType="DIGEST", SigningAlgorithm=_ALGORITHM
            )
        except ClientError as error:
            code = _code(error)
            reason = "SIGNER_BUSY" if code in _BUSY or _status(error) >= 500 else "SIGNER_REFUSES"
            raise Unavailable(reason, f"KMS answers {code}", code=code) from error
        except BotoCoreError as error:
            raise Unavailable("SIGNER_UNREACHABLE", f"KMS does not answer: {type(error).__name__}") from error
        try:
            return recoverable(digest, answer["Signature"], self._public_key)
        except (CodecError, KeyError) as error:
            raise Unavailable("SIGNER_WRONG", "KMS answered with no signature of its key") from error

    def __repr__(self) -> str:
        return f"KmsSigner({self._key_id}, public_key={self._public_key.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not copied to another process")


def recoverable(digest: bytes, der: bytes, public_key: bytes) -> bytes:
    """R || S || V, low-s, of a DER signature; SignatureError unless it is `public_key`'s over the digest."""
    try:
        r, s = decode_dss_signature(der)
    except ValueError:
        raise SignatureError("a signature is not DER") from None
    if not (0 < r < ORDER and 0 < s < ORDER):
        raise SignatureError("a signature is out of range")
    compact = r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")
    for recovery_id in range(4):
        signature = check_signature(compact + bytes([recovery_id]))
        try:
            if recover(digest, signature) == public_key:
                return signature
        except SignatureError:
            continue
    raise SignatureError("a signature belongs to another key")


def _public_key(client: Any, key_id: str) -> bytes:
    """The compressed key; SettingsError says what is wrong with the key or the way to it."""
    try:
        answer = client.get_public_key(KeyId=key_id)
    except ClientError as error:
        raise SettingsError(f"awskms:{key_id}: KMS answers {_code(error)} to GetPublicKey") from error
    except BotoCoreError as error:
        raise SettingsError(f"awskms:{key_id}: KMS does not answer: {type(error).__name__}") from error
    spec, usage = answer.get("KeySpec", answer.get("CustomerMasterKeySpec")), answer.get("KeyUsage")
    if (spec, usage) != (_SPEC, _USAGE) or _ALGORITHM not in answer.get("SigningAlgorithms", ()):
        raise SettingsError(f"awskms:{key_id}: the key is {spec} for {usage}; it must be {_SPEC} for {_USAGE}")
    try:
        key = load_der_public_key(answer["PublicKey"])
    except ValueError:
        raise SettingsError(f"awskms:{key_id}: KMS answered with no public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256K1):
        raise SettingsError(f"awskms:{key_id}: the public key is not of secp256k1")
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "nothing"))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
