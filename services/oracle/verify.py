"""`python -m services.oracle.verify RECEIPT`: checks a settlement receipt offline.

RECEIPT is a file with a GetReceiptResponse, in protobuf's JSON or binary form, or `-` for standard input. What must be
known from elsewhere is given, or is in the environment: the oracle's key and the contracts' deployer. Without a key it
checks that one key signed everything, and says which, and that nothing vouches for it. It prints what was checked and
exits 0; on anything that does not hold it prints the reason and exits 1.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bithedge.oracle.v1 import oracle_service_pb2 as pb
from coincurve import PublicKey
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from kernel.errors import InvalidArgument
from kernel.settings import SettingsError
from services.oracle import convert_receipts as convert
from services.oracle.config import verify_settings
from services.oracle.convert import signed_round
from services.oracle.domain.evidence import EvidenceMismatch, check_evidence
from services.oracle.domain.prices import Feed, PriceStatus, Round
from services.oracle.messages import Message, round_message
from services.oracle.signing import PRICE_ROUND, ContractAddress, structured_digest

# A RecursionError is what JSON gives that is nested without end.
_UNREADABLE: Final = (json_format.ParseError, DecodeError, ValueError, TypeError, ArithmeticError, RecursionError)
_UINT_END: Final = 1 << 128
_PUBLIC_KEY: Final = re.compile(r"(0[xX])?0[23][0-9a-fA-F]{64}", re.ASCII)
_NOT_SIGNED: Final = (
    "not signed: source names, labels (simulated, synthetic), reasons, unusable rounds, and of single observations and "
    "votes all but the price, confidence and time that they make together"
)
_CHAIN_IDS: Final = {"mainnet": 1, "testnet": 0x80000000}
# Half the order of secp256k1: what the contracts take has s at most there.
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


@dataclass(frozen=True)
class Pinned:
    """What a receipt is checked against: the key as public key or address, chain, contracts, seconds between rounds.

    Without a key from elsewhere (`is_pinned` False) it is that of the receipt itself.
    """

    key: str
    network: str
    chain_id: int
    deployer: ContractAddress
    interval_seconds: int
    is_pinned: bool = True

    @property
    def key_words(self) -> str:
        """Whose signatures were found."""
        return "the pinned key" if self.is_pinned else "the key that the receipt itself shows"

    def check_signature(self, what: str, kind: str, message: Message, signature: bytes) -> None:
        """EvidenceMismatch unless the pinned key signed this message for these contracts on this chain."""
        found = signer_of(what, kind, message, signature, self.chain_id, self.deployer)
        if not self._is_key(found):
            raise EvidenceMismatch(f"{what}: signed by {found.hex()}, or not for this content, contract and chain")

    def _is_key(self, found: bytes) -> bool:
        if not self.key.startswith("S"):
            return found.hex() == self.key.lower().removeprefix("0x")
        account = hashlib.new("ripemd160", hashlib.sha256(found).digest()).digest()
        return ContractAddress(self.key, self.network).data[1:] == account


def signer_of(
    what: str, kind: str, message: Message, signature: bytes, chain_id: int, deployer: ContractAddress
) -> bytes:
    """The public key that signed a message for these contracts; EvidenceMismatch where there cannot be one."""
    if len(signature) != 65 or int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise EvidenceMismatch(f"{what}: the signature is not 65 bytes with a low s")
    for name, value in message.items():
        if isinstance(value, int) and not 0 <= value < _UINT_END:
            raise EvidenceMismatch(f"{what}: {name} is {value}, which no contract holds")
    digest = structured_digest(kind, message, chain_id, deployer)
    try:
        return PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=True)
    except ValueError:
        raise EvidenceMismatch(f"{what}: the signature recovers no key") from None


def read_receipt(data: bytes) -> tuple[pb.GetReceiptResponse, str]:
    """The message of a file, and its form in words; EvidenceMismatch if it is neither form."""
    try:
        if data.lstrip()[:1] == b"{":
            return json_format.Parse(data, pb.GetReceiptResponse()), "JSON"
        return pb.GetReceiptResponse.FromString(data), "binary"
    except _UNREADABLE as error:
        raise EvidenceMismatch(f"no GetReceiptResponse in JSON or binary form: {error}") from error


def verify(response: pb.GetReceiptResponse, pinned: Pinned) -> Sequence[str]:
    """What was checked, in words; EvidenceMismatch or InvalidArgument with the first thing that does not hold."""
    kind, message = convert.signed_message(response.receipt)
    if min(response.receipt.btc_price_usd_e8, response.receipt.stx_price_usd_e8) <= 0:
        raise EvidenceMismatch("the receipt's prices are not positive")
    pinned.check_signature("receipt", kind, message, response.receipt.signature)
    if response.contract_deployer and (
        (response.contract_deployer, response.chain_id) != (pinned.deployer.text, pinned.chain_id)
    ):
        raise EvidenceMismatch(f"it says to be for {response.contract_deployer} on chain {response.chain_id}")
    said = [f"{kind}: signed by {pinned.key_words} for {pinned.deployer.text} on chain {pinned.chain_id}"]
    evidence = convert.evidence_of(response)
    signed = [
        _check_signed(shown, one, pinned)
        for messages, rounds in ((response.rounds, evidence.used), (response.passed_rounds, evidence.passed))
        for shown, one in zip(
            sorted(messages, key=lambda shown: shown.price.feed),
            (one for feed in Feed for one in rounds[feed]),
            strict=True,
        )
    ]
    said.append(f"{sum(signed)} of {len(signed)} rounds are OK, each signed by {pinned.key_words}")
    checked = check_evidence(evidence, pinned.interval_seconds)
    said.append("every round's price, time and confidence follow from its observations")
    return [*said, *checked]


def _check_signed(shown: pb.ReceiptRound, one: Round, pinned: Pinned) -> bool:
    """Whether the round is OK and signed; EvidenceMismatch if only one of both is so, or the copy differs."""
    where = f"{one.price.feed.symbol} round {one.price.round}"
    ok = one.price.status is PriceStatus.OK
    if ok != shown.HasField("signed_round"):
        raise EvidenceMismatch(f"{where} is {one.price.status} and {'not ' if ok else ''}signed")
    if ok and one.price.observe_time is None:
        raise EvidenceMismatch(f"{where} has no time")
    if ok:
        signature = shown.signed_round.signature
        if shown.signed_round != signed_round(one.price, signature):
            raise EvidenceMismatch(f"{where}: the signed round is not the round that is shown")
        pinned.check_signature(where, PRICE_ROUND, round_message(one.price), signature)
    return ok


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.oracle.verify", description=__doc__.split("\n\n")[1])
    parser.add_argument("receipt", help="file with a GetReceiptResponse, JSON or binary; - for standard input")
    parser.add_argument("--oracle-key", help="public key, 66 hexadecimal digits, or Stacks address; else ORACLE_KEY")
    parser.add_argument("--contract-deployer", help="Stacks address; else CONTRACT_DEPLOYER, else as the receipt says")
    parser.add_argument("--network", choices=sorted(_CHAIN_IDS), help="that of the deployer's address unless given")
    parser.add_argument("--chain-id", type=int, help="as the receipt says unless given")
    parser.add_argument("--observation-seconds", type=int, default=60, help="seconds between rounds; 60 unless given")
    return parser.parse_args(given)


def _pinned(chosen: argparse.Namespace, response: pb.GetReceiptResponse) -> Pinned:
    """From the command, else the environment, else what the receipt itself shows; SettingsError for what is no key,
    deployer or number."""
    told = verify_settings()
    deployer_text = chosen.contract_deployer or told.contract_deployer or _own_deployer(response)
    if not deployer_text:
        raise SettingsError("the receipt does not say for whose contracts: --contract-deployer or CONTRACT_DEPLOYER")
    network = chosen.network or _network_of(deployer_text)
    chain_id = chosen.chain_id
    if chain_id is None:
        chain_id = response.chain_id if response.contract_deployer else _CHAIN_IDS[network]
    if not 0 <= chain_id < _UINT_END or chosen.observation_seconds < 1:
        raise SettingsError("--chain-id must not be negative, --observation-seconds must be positive")
    deployer = ContractAddress(deployer_text, network)
    key = chosen.oracle_key or told.oracle_key
    if key.startswith("S"):
        ContractAddress(key, network)
    elif key and not _PUBLIC_KEY.fullmatch(key):
        raise SettingsError("--oracle-key or ORACLE_KEY is neither a public key of 66 digits nor an address")
    found = key or _own_key(response, chain_id, deployer)
    return Pinned(found, network, chain_id, deployer, chosen.observation_seconds, bool(key))


def _network_of(address: str) -> str:
    return "mainnet" if address[:2] in ("SP", "SM") else "testnet"


def _own_deployer(response: pb.GetReceiptResponse) -> str:
    """Of the receipt itself, empty if it says none; EvidenceMismatch for what is no address."""
    told = response.contract_deployer
    try:
        return told and ContractAddress(told, _network_of(told)).text
    except SettingsError:
        raise EvidenceMismatch("contract_deployer: is no Stacks address") from None


def _own_key(response: pb.GetReceiptResponse, chain_id: int, deployer: ContractAddress) -> str:
    kind, message = convert.signed_message(response.receipt)
    return signer_of("receipt", kind, message, response.receipt.signature, chain_id, deployer).hex()


def main(given: Sequence[str]) -> int:
    """0 when everything holds; 1 with the reason when it does not; 2 when it cannot be asked: no such file or key."""
    chosen = _arguments(given)
    try:
        data = sys.stdin.buffer.read() if chosen.receipt == "-" else Path(chosen.receipt).read_bytes()
        response, form = read_receipt(data)
        pinned = _pinned(chosen, response)
        said = verify(response, pinned)
    except (EvidenceMismatch, InvalidArgument) as error:
        print(f"receipt REFUSED: {error}", file=sys.stderr)
        return 1
    except (SettingsError, OSError) as error:
        print(f"nothing was checked: {error}", file=sys.stderr)
        return 2
    print(f"read in {form} form")
    for line in said:
        print(f"ok: {line}")
    if response.HasField("request_market_time"):
        print("told, not signed: the request's market time", response.request_market_time.ToJsonString())
    print(_NOT_SIGNED)
    if not pinned.is_pinned:
        print(f"WARNING: THE KEY WAS NOT PINNED. Everything is signed by {pinned.key};")
        print("WARNING: whether that is the oracle's key, only the parameter contract says. Give it as --oracle-key.")
    print("receipt HOLDS")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
