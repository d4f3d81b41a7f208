"""What the oracle key signs: byte for byte what the gateway's codec hashes; keys and addresses are checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.settings import SettingsError
from services.chain_gateway.stacks.c32 import Address, AddressVersion
from services.chain_gateway.stacks.clarity import (
    Buffer,
    ClarityValue,
    StringAscii,
    TupleValue,
    UInt,
    parse_principal,
)
from services.chain_gateway.stacks.keys import check_signature
from services.chain_gateway.stacks.messages import recover_structured, structured_domain, structured_hash
from services.oracle.signing import (
    ACTIVATION_RECEIPT,
    EXPIRY_RECEIPT,
    PRICE_ROUND,
    ContractAddress,
    OracleSigner,
    read_key_file,
)

KEY = hashlib.sha256(b"a key").digest()
DEPLOYER = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM"
UINTS = st.integers(0, 2**128 - 1)
FIELDS: dict[str, st.SearchStrategy[int | bytes | str]] = {
    "feed": st.sampled_from(["BTC/USD", "STX/USD"]),
    "policy-id": st.binary(min_size=16, max_size=16),
}
SHAPES = {
    PRICE_ROUND: ("oracle", ("feed", "round", "price-e8", "confidence-e8", "observed-at", "burn-height")),
    ACTIVATION_RECEIPT: (
        "policy-registry",
        ("policy-id", "activation", "btc-price-e8", "stx-price-e8", "observed-at", "burn-height"),
    ),
    EXPIRY_RECEIPT: (
        "policy-registry",
        ("expiration-burn-height", "btc-price-e8", "stx-price-e8", "observed-at"),
    ),
}


def clarity(value: int | bytes | str) -> ClarityValue:
    """The codec's value."""
    if isinstance(value, int):
        return UInt(value)
    return Buffer(value) if isinstance(value, bytes) else StringAscii(value)


@given(
    kind=st.sampled_from(sorted(SHAPES)),
    chain_id=st.sampled_from([1, 0x80000000]),
    account=st.binary(min_size=20, max_size=20),
    data=st.data(),
)
def test_every_message_hashes_as_the_codec_says(kind: str, chain_id: int, account: bytes, data: st.DataObject) -> None:
    """For any values of the three shapes, any deployer and both chains the digest is the codec's, and the signature,
    low-s, recovers to the oracle's public key."""
    network = "mainnet" if chain_id == 1 else "testnet"
    version = AddressVersion.MAINNET_SINGLE_SIG if chain_id == 1 else AddressVersion.TESTNET_SINGLE_SIG
    deployer = Address(version, account).text
    contract, names = SHAPES[kind]
    values = {name: data.draw(FIELDS.get(name, UINTS), label=name) for name in names}
    signer = OracleSigner(KEY, chain_id, ContractAddress(deployer, network))
    domain = structured_domain(kind, chain_id, parse_principal(f"{deployer}.{contract}"))
    message = TupleValue({name: clarity(value) for name, value in values.items()})
    assert signer.digest(kind, values) == structured_hash(domain, message)
    signature = check_signature(signer.sign(kind, values))
    assert recover_structured(domain, message, signature) == signer.public_key
    assert signature == signer.sign(kind, values)


@pytest.mark.parametrize(
    "text",
    ["", "S", "ST", DEPLOYER[:-1], DEPLOYER + "0", DEPLOYER.lower(), DEPLOYER[:-1] + "N", "X" + DEPLOYER[1:]],
)
def test_a_misspelled_deployer_stops_the_start(text: str) -> None:
    """Nothing is signed for a contract that nobody deployed."""
    with pytest.raises(SettingsError, match="CONTRACT_DEPLOYER"):
        ContractAddress(text, "testnet")


def test_a_deployer_of_the_other_network_stops_the_start() -> None:
    """A testnet address with NETWORK=mainnet is refused."""
    with pytest.raises(SettingsError, match="NETWORK"):
        ContractAddress(DEPLOYER, "mainnet")


def test_a_key_comes_from_a_private_file_and_is_never_shown(tmp_path: Path) -> None:
    """64 or 66 digits in a file of mode 0600; anything else is refused without repeating it, and the signer's text
    shows the public key alone."""
    file = tmp_path / "oracle.key"
    for text in (KEY.hex(), KEY.hex() + "01\n"):
        file.write_text(text)
        file.chmod(0o600)
        assert read_key_file(file) == KEY
    for bad in (KEY.hex()[:-2], KEY.hex() + "02", "not hexadecimal", ""):
        file.write_text(bad)
        with pytest.raises(SettingsError) as refused:
            read_key_file(file)
        assert not bad or bad not in str(refused.value)
    file.write_text(KEY.hex())
    file.chmod(0o644)
    with pytest.raises(SettingsError):
        read_key_file(file)
    assert KEY.hex() not in repr(OracleSigner(KEY, 1, ContractAddress(DEPLOYER, "testnet")))
