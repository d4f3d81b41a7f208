"""Where backend keys may come from, and that they never show."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Unavailable
from kernel.settings import SettingsError
from services.chain_gateway import config
from services.chain_gateway.config import Settings
from services.chain_gateway.keys import Keys
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.errors import SignatureError
from services.chain_gateway.stacks.keys import ORDER, recover
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.signer_kms import recoverable
from tests.secret_scan.needles import Secret, needles_of
from tests.secret_scan.search import Searcher

_SECRET = "5e" * 32 + "01"
_VERSION = AddressVersion.TESTNET_SINGLE_SIG
_scalars = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


def _settings(*signers: str, **changes: Any) -> Settings:
    return Settings(
        listen="127.0.0.1:0",
        database_url="postgresql://",
        identity_address="127.0.0.1:1",
        node_urls=("http://127.0.0.1:1",),
        contract_deployer="ST000000000000000000002AMW42H",
        backend_signers=signers,
        **changes,
    )


def _file(folder: Path, mode: int, content: str = _SECRET) -> Path:
    path = folder / "key"
    path.write_text(content)
    os.chmod(path, mode)
    return path


def test_a_key_comes_from_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    """A file of mode 0600 is read; one that a group may open is refused, by its path and not by what it holds."""
    keys = Keys.open([f"file:{_file(tmp_path, 0o600)}"], _VERSION, {})
    assert keys.addresses == (KeySigner.from_hex(_SECRET).address(_VERSION).text,)
    with pytest.raises(SettingsError, match="mode 0600") as caught:
        Keys.open([f"file:{_file(tmp_path, 0o640)}"], _VERSION, {})
    assert _SECRET[:16] not in str(caught.value)


def test_a_key_from_the_environment_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`env:` reads a variable and removes it, so that no child process inherits the key; an absent one is named."""
    monkeypatch.setenv("TEST_BACKEND_KEY", _SECRET)
    settings = _settings("env:TEST_BACKEND_KEY")
    keys = Keys.open(settings.backend_signers, _VERSION, config.take_key_variables(settings))
    assert keys.addresses[0] == KeySigner.from_hex(_SECRET).address(_VERSION).text
    assert "TEST_BACKEND_KEY" not in os.environ
    with pytest.raises(SettingsError, match="TEST_BACKEND_KEY is not set"):
        config.take_key_variables(settings)


@pytest.mark.parametrize("content", ["", "not hex", "00" * 32, "ff" * 32, "5e" * 31, "5e" * 32 + "02", "\u00e9"])
def test_what_is_no_key_is_refused_without_repeating_it(content: str) -> None:
    """Whatever a variable holds that is no key, the error names the variable and nothing of its content."""
    with pytest.raises(SettingsError, match="variable NAME holds no private key in hex") as caught:
        Keys.open(["env:NAME"], _VERSION, {"NAME": content})
    assert caught.value.__cause__ is None
    assert not content or content not in str(caught.value)


@pytest.mark.parametrize("uri", [_SECRET, "file:", "env:", "http://host/key", f"hex:{_SECRET}"])
def test_a_setting_of_another_form_is_refused_without_repeating_it(uri: str) -> None:
    """A setting that is none of the three forms is refused; if it was a key, the error does not show it."""
    with pytest.raises(
        SettingsError, match="BACKEND_SIGNERS, SPONSOR_SIGNER: each is file:/path, env:VARIABLE or awskms:key"
    ) as caught:
        _settings(uri)
    assert _SECRET[:16] not in str(caught.value)


def test_a_key_in_the_environment_is_for_development() -> None:
    """On mainnet `env:` is refused, and so is no signer at all anywhere."""
    with pytest.raises(SettingsError, match="not for mainnet"):
        _settings("awskms:alias/backend", "env:NAME", network="mainnet")
    assert _settings("awskms:alias/backend", network="mainnet").backend_signers == ("awskms:alias/backend",)
    with pytest.raises(SettingsError, match="names no signer"):
        _settings()


def test_the_number_of_keys_is_bounded() -> None:
    """Each key that signs holds a connection to the database: more than five would leave none for the rest."""
    with pytest.raises(SettingsError, match="more than 5"):
        _settings(*(f"awskms:alias/{number}" for number in range(6)))


def test_one_key_is_named_once_and_another_is_not_ours() -> None:
    """The same key under two names is a mistake; an account without a key here says so instead of failing oddly."""
    with pytest.raises(SettingsError, match="one key twice"):
        Keys.open(["env:A", "env:B"], _VERSION, {"A": _SECRET, "B": _SECRET})
    with pytest.raises(Unavailable) as caught:
        Keys.open(["env:A"], _VERSION, {"A": _SECRET}).signer("ST000000000000000000002AMW42H")
    assert caught.value.reason == "SIGNER_ABSENT"


def test_a_key_shows_nowhere() -> None:
    """Text, attributes, formats and pickles of a signer and of all keys have no digit of the secret."""
    keys = Keys.open(["env:A"], _VERSION, {"A": _SECRET})
    signer = keys.signer(keys.addresses[0])
    for text in (repr(signer), str(signer), f"{signer}", repr(keys), repr(vars(keys))):
        assert _SECRET[:16] not in text
    for thing in (signer, keys):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


@given(_scalars, st.binary(max_size=64))
def test_der_becomes_the_one_recoverable_low_s_spelling(secret: bytes, message: bytes) -> None:
    """Proves that a DER signature and its high-s twin give the same 65 bytes, which recover to the key."""
    key, digest = PrivateKey(secret), hashlib.sha256(message).digest()
    public_key = key.public_key.format(compressed=True)
    r, s = decode_dss_signature(key.sign(digest, hasher=None))
    low = recoverable(digest, encode_dss_signature(r, s), public_key)
    assert low == recoverable(digest, encode_dss_signature(r, ORDER - s), public_key)
    assert low == key.sign_recoverable(digest, hasher=None)
    assert recover(digest, low) == public_key


@given(_scalars, st.binary(max_size=80))
def test_what_is_no_signature_of_the_key_is_one_error(secret: bytes, der: bytes) -> None:
    """Proves that any bytes end in a SignatureError, never in another exception or in a signature."""
    public_key = PrivateKey(secret).public_key.format(compressed=True)
    with pytest.raises(SignatureError):
        recoverable(bytes(32), der, public_key)


def test_a_log_shows_no_key() -> None:
    """A signer, all keys, and an error raised with them at hand are logged as in production: no digit of the secret."""
    program = f"""
from kernel.log import configure_logging, get_logger
from services.chain_gateway.keys import Keys
from services.chain_gateway.stacks.c32 import AddressVersion

configure_logging("test", "DEBUG")
keys = Keys.open(["env:A"], AddressVersion.TESTNET_SINGLE_SIG, {{"A": "{_SECRET}"}})
signer = keys.signer(keys.addresses[0])
try:
    signer.sign_digest(b"too short")
except ValueError:
    get_logger().exception("failed", signer=signer, keys=keys, parts=vars(keys))
get_logger().info(f"{{signer}} {{keys}}", signers=[signer])
signer.sign_digest("uncaught")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    output = run.stdout + run.stderr
    assert '"event": "failed"' in output
    assert run.returncode == 1
    secret = Secret("key", bytes.fromhex(_SECRET)[:32])
    # The program's own text has the key; what Python shows of it is a line of code at the most.
    assert not Searcher(needles_of(secret)).hits(output.encode())
