"""The signer on AWS KMS against moto's server over HTTP, and what becomes of a KMS that does not do its work."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import pickle
from collections.abc import AsyncIterator, Iterator

import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from kernel.errors import Unavailable
from kernel.settings import SettingsError
from services.chain_gateway.keys import Keys
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.clarity import StandardPrincipal, StringAscii, UInt
from services.chain_gateway.stacks.keys import recover
from services.chain_gateway.stacks.messages import sign_structured, verify_structured
from services.chain_gateway.stacks.payload import TokenTransfer
from services.chain_gateway.stacks.signer_kms import KmsSigner
from services.chain_gateway.stacks.transaction import TESTNET, Transaction, single_sig
from services.chain_gateway.stacks.transaction_signing import sign_transaction, verify_transaction
from tests.integration.chain_gateway.kms import ENVIRONMENT, FaultyWay, Kms, faulty_way, kms_client, running_kms

_DIGEST = hashlib.sha256(b"digest").digest()


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    """One server for all tests."""
    with running_kms() as running:
        yield running


@pytest.fixture
async def way(kms: Kms) -> AsyncIterator[FaultyWay]:
    """A way to it that can fail."""
    async with faulty_way(kms) as found:
        yield found


@pytest.fixture
def configured(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> Kms:
    """The server as AWS's own configuration names it."""
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL_KMS": kms.url}.items():
        monkeypatch.setenv(name, value)
    return kms


async def _signer(kms: Kms, way: FaultyWay, read_timeout_seconds: float = 60.0) -> KmsSigner:
    arn = kms.create_key()
    return await asyncio.to_thread(KmsSigner, kms_client(way.url, read_timeout_seconds), arn)


def test_every_signature_is_recoverable_and_low_s(kms: Kms) -> None:
    """Forty digests: each signature recovers to the key in its one low-s spelling, as the codec demands."""
    signer = KmsSigner(kms_client(kms.url), kms.create_key())
    for number in range(40):
        digest = hashlib.sha256(bytes([number])).digest()
        assert recover(digest, signer.sign_digest(digest)) == signer.public_key


def test_it_signs_transactions_and_messages(kms: Kms) -> None:
    """A transaction of the key's account and a structured message verify like those of a key in a file."""
    signer = KmsSigner(kms_client(kms.url), kms.create_key())
    payload = TokenTransfer(StandardPrincipal(signer.address(AddressVersion.TESTNET_SINGLE_SIG)), 1)
    signed = sign_transaction(Transaction(TESTNET, single_sig(signer.public_key, 0, 200), payload), signer)
    assert verify_transaction(signed).origin_keys == (signer.public_key,)
    domain, message = StringAscii("domain"), UInt(1)
    verify_structured(domain, message, sign_structured(signer, domain, message), signer.public_key)


async def test_the_setting_opens_a_key_by_arn_id_and_alias(configured: Kms) -> None:
    """`awskms:` takes an ARN, an id, and an alias; two names of one key are refused; signing leaves the loop free."""
    arn = configured.create_key()
    kms_client(configured.url).create_alias(AliasName="alias/backend", TargetKeyId=arn)
    version = AddressVersion.TESTNET_SINGLE_SIG
    names = [f"awskms:{arn}", f"awskms:{arn.rpartition('/')[2]}", "awskms:alias/backend"]
    opened = [Keys.open([name], version, {}) for name in names]
    assert len({keys.addresses for keys in opened}) == 1
    address = opened[0].addresses[0]
    signature = await opened[0].use(address, lambda signer: signer.sign_digest(_DIGEST))
    assert recover(_DIGEST, signature) == opened[0].signer(address).public_key
    with pytest.raises(SettingsError, match="one key twice"):
        Keys.open(names[:2], version, {})


@pytest.mark.parametrize(
    ("spec", "usage"),
    [
        ("ECC_NIST_P256", "SIGN_VERIFY"),
        ("RSA_2048", "SIGN_VERIFY"),
        ("ECC_SECG_P256K1", "KEY_AGREEMENT"),
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
    ],
)
def test_a_key_of_another_kind_is_refused_at_the_start(kms: Kms, spec: str, usage: str) -> None:
    """The error says what the key is and what it must be, before anything is asked to be signed."""
    with pytest.raises(SettingsError, match=f"is {spec} for {usage}; it must be ECC_SECG_P256K1 for SIGN_VERIFY"):
        KmsSigner(kms_client(kms.url), kms.create_key(spec, usage))


def test_no_such_key_and_no_such_server_are_told_apart(kms: Kms) -> None:
    """A key id that does not exist, and a server that is not there, each end the start with its own sentence."""
    with pytest.raises(SettingsError, match="KMS answers NotFoundException to GetPublicKey"):
        KmsSigner(kms_client(kms.url), "00000000-0000-0000-0000-000000000000")
    with pytest.raises(SettingsError, match="KMS does not answer: EndpointConnectionError"):
        KmsSigner(kms_client("http://127.0.0.1:1"), "any")


def test_a_disabled_key_refuses(kms: Kms) -> None:
    """A key that somebody disabled while we run is an error of its own: a person has to look, nothing is signed."""
    arn = kms.create_key()
    signer = KmsSigner(kms_client(kms.url), arn)
    kms_client(kms.url).disable_key(KeyId=arn.rpartition("/")[2])
    with pytest.raises(Unavailable, match="DisabledException") as caught:
        signer.sign_digest(_DIGEST)
    assert caught.value.reason == "SIGNER_REFUSES"


async def test_throttling_is_waited_out(kms: Kms, way: FaultyWay) -> None:
    """Two throttled calls, then the signature: it is asked for three times and the caller sees only the answer."""
    signer = await _signer(kms, way)
    way.faults = ["ThrottlingException", "KMSInternalException"]
    signature = await asyncio.to_thread(signer.sign_digest, _DIGEST)
    assert recover(_DIGEST, signature) == signer.public_key
    assert way.calls == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("ThrottlingException", "SIGNER_BUSY"),
        ("KMSInternalException", "SIGNER_BUSY"),
        ("AccessDeniedException", "SIGNER_REFUSES"),
        ("KMSInvalidStateException", "SIGNER_REFUSES"),
        ("silence", "SIGNER_UNREACHABLE"),
    ],
)
async def test_a_kms_that_keeps_failing(kms: Kms, way: FaultyWay, fault: str, reason: str) -> None:
    """Each way of failing has a stable reason, and the attempts end: nothing waits for ever."""
    signer = await _signer(kms, way, read_timeout_seconds=2.0)
    way.faults = [fault] * 10
    with pytest.raises(Unavailable) as caught:
        await asyncio.to_thread(signer.sign_digest, _DIGEST)
    assert caught.value.reason == reason
    assert way.calls <= 3


@pytest.mark.parametrize("wrong", ["another key", "another digest", "not DER", "nothing"])
async def test_an_answer_of_no_use_never_leaves(kms: Kms, way: FaultyWay, wrong: str) -> None:
    """A signature of another key or digest, or no signature at all, is an error instead of a broken transaction."""
    signer = await _signer(kms, way)
    key = PrivateKey()
    answers = {
        "another key": key.sign(_DIGEST, hasher=None),
        "another digest": key.sign(hashlib.sha256(b"other").digest(), hasher=None),
        "not DER": b"\x30\x02\x01",
        "nothing": encode_dss_signature(0, 0),
    }
    way.faults = [{"Signature": base64.b64encode(answers[wrong]).decode(), "KeyId": "any"}]
    with pytest.raises(Unavailable) as caught:
        await asyncio.to_thread(signer.sign_digest, _DIGEST)
    assert caught.value.reason == "SIGNER_WRONG"


def test_it_shows_and_copies_nothing(kms: Kms) -> None:
    """Its text has the public key alone, and it is not pickled."""
    signer = KmsSigner(kms_client(kms.url), kms.create_key())
    assert signer.public_key.hex() in repr(signer)
    with pytest.raises(TypeError):
        pickle.dumps(signer)
