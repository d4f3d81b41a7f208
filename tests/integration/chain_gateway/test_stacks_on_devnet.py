"""The codec and the node's client against the real Clarity VM behind the devnet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.clarity import (
    Buffer,
    ClarityValue,
    ContractPrincipal,
    ResponseErr,
    ResponseOk,
    Some,
    StandardPrincipal,
    StringAscii,
    TupleValue,
    UInt,
    deserialize,
    serialize,
)
from services.chain_gateway.stacks.messages import sign_structured, structured_domain, structured_hash
from services.chain_gateway.stacks.node import StacksNode
from services.chain_gateway.stacks.node_errors import BroadcastRejected, ReadRefused
from services.chain_gateway.stacks.node_types import TransactionRecord
from services.chain_gateway.stacks.payload import ContractCall, ContractDeploy, Payload, TokenTransfer
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.transaction import TESTNET, Transaction, serialize_transaction, single_sig
from services.chain_gateway.stacks.transaction_signing import sign_transaction
from tests.devnet import Devnet, running_devnet

_OWNER, _OTHER = (KeySigner(bytes([number]) * 32 + b"\x01") for number in (7, 8))
_ADDRESS = _OWNER.address(AddressVersion.TESTNET_SINGLE_SIG)
_THING = ContractPrincipal(_ADDRESS, "thing")
_CODE = """
(define-public (go (x uint))
  (begin (print {event: "gone", a: x}) (print x) (if (> x u9) (err u3) (ok x))))
(define-read-only (mixed-keys)
  (to-consensus-buff? {a: u2, A: u6, a-: u5, a-b: u1, a?: u8, a1: u3, ab: u4, b!: u9, Z: u7}))
(define-read-only (digest
    (domain {name: (string-ascii 32), version: (string-ascii 8), chain-id: uint, contract: principal})
    (message {feed: (string-ascii 8), price-e8: uint}))
  (sha256 (concat 0x534950303138 (concat
    (sha256 (unwrap-panic (to-consensus-buff? domain)))
    (sha256 (unwrap-panic (to-consensus-buff? message)))))))
(define-read-only (signer (hash (buff 32)) (signature (buff 65))) (secp256k1-recover? hash signature))
"""


@dataclass
class _Chain:
    devnet: Devnet
    node: StacksNode

    async def submit(self, payload: Payload, fee: int = 100_000) -> TransactionRecord:
        """Signs, broadcasts and awaits a transaction of the owner's."""
        nonce = (await self.node.account(_ADDRESS.text)).nonce
        txid = await self.node.broadcast(_signed(payload, nonce, fee))
        await self.devnet.wait_for(txid)
        record = await self.node.transaction(txid)
        assert record is not None
        return record


def _signed(payload: Payload, nonce: int, fee: int) -> bytes:
    unsigned = Transaction(TESTNET, single_sig(_OWNER.public_key, nonce, fee), payload)
    return serialize_transaction(sign_transaction(unsigned, _OWNER))


@pytest.fixture(scope="module")
async def chain(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[_Chain]:
    """A devnet with a contract that we deployed, and our client of it."""
    folder = tmp_path_factory.mktemp("devnet")
    async with running_devnet(folder, block_interval_ms=20) as devnet, aiohttp.ClientSession() as session:
        running = _Chain(devnet, StacksNode(devnet.url, session))
        await devnet.wait_for(await devnet.faucet_stx(_ADDRESS.text))
        deployed = await running.submit(ContractDeploy("thing", _CODE, 4))
        assert (deployed.status, deployed.vm_error) == ("success", None)
        yield running


async def test_a_call_is_mined_with_its_result_and_its_prints(chain: _Chain) -> None:
    """Proves that a transaction of ours is what the VM runs, and that its events come back whole."""
    record = await chain.submit(ContractCall(_ADDRESS, "thing", "go", (UInt(5),)))
    assert (record.status, record.result(), record.sender) == ("success", ResponseOk(UInt(5)), _ADDRESS.text)
    logs = [deserialize(event.log.value.octets) for event in record.events if event.log is not None]
    assert logs == [TupleValue({"event": StringAscii("gone"), "a": UInt(5)}), UInt(5)]
    assert record.block_hash is not None
    block = await chain.node.block(record.block_hash)
    assert block is not None
    assert block.height == record.block_height
    transactions = await chain.node.block_transactions(record.block_hash)
    assert transactions is not None
    assert record.txid in [transaction.txid for transaction in transactions]
    burn = await chain.node.burn_block(block.burn_height)
    assert burn is not None
    assert record.block_hash in burn.stacks_blocks


async def test_an_error_of_the_contract_aborts_and_says_its_number(chain: _Chain) -> None:
    """Proves that an abort is read as one, with the contract's error and no events."""
    record = await chain.submit(ContractCall(_ADDRESS, "thing", "go", (UInt(10),)))
    assert (record.status, record.result()) == ("abort_by_response", ResponseErr(UInt(3)))
    assert record.events == ()


async def test_a_transfer_moves_stx(chain: _Chain) -> None:
    """Proves transfers: the recipient's balance and the event of the movement."""
    recipient = StandardPrincipal(_OTHER.address(AddressVersion.TESTNET_SINGLE_SIG))
    record = await chain.submit(TokenTransfer(recipient, 5, b"memo"))
    movement = record.events[0].asset
    assert movement is not None
    assert (movement.recipient, movement.amount, movement.asset_id) == (recipient.text, 5, None)
    assert (await chain.node.account(recipient.text)).balance_ustx == 5


async def test_the_chain_writes_and_hashes_values_as_we_do(chain: _Chain) -> None:
    """Proves our bytes, our order of keys, our digest of a structured message and our signature in the VM."""
    numbers = {"a": 2, "A": 6, "a-": 5, "a-b": 1, "a?": 8, "a1": 3, "ab": 4, "b!": 9, "Z": 7}
    value = TupleValue({name: UInt(number) for name, number in numbers.items()})
    assert await chain.node.call_read(_THING, "mixed-keys") == Some(Buffer(serialize(value)))
    domain = structured_domain("bithedge-price-round", TESTNET.chain_id, _THING)
    message = TupleValue({"price-e8": UInt(6_500_000_000_000), "feed": StringAscii("BTC/USD")})
    digest = Buffer(structured_hash(domain, message))
    assert await chain.node.call_read(_THING, "digest", [domain, message]) == digest
    arguments: list[ClarityValue] = [digest, Buffer(sign_structured(_OTHER, domain, message))]
    recovered = await chain.node.call_read(_THING, "signer", arguments)
    assert recovered == ResponseOk(Buffer(_OTHER.public_key))


async def test_refusals_carry_their_reasons(chain: _Chain) -> None:
    """Proves the reasons of the node for transactions and reads that it does not take."""
    recipient = StandardPrincipal(_OTHER.address(AddressVersion.TESTNET_SINGLE_SIG))
    nonce = (await chain.node.account(_ADDRESS.text)).nonce
    refused = {
        "BadNonce": _signed(TokenTransfer(recipient, 1), nonce - 1, 1000),
        "FeeTooLow": _signed(TokenTransfer(recipient, 1), nonce, 1),
        "NotEnoughFunds": _signed(TokenTransfer(recipient, 1 << 62), nonce, 1000),
        "NoSuchContract": _signed(ContractCall(_ADDRESS, "nothing", "go"), nonce, 1000),
    }
    for reason, transaction in refused.items():
        with pytest.raises(BroadcastRejected) as caught:
            await chain.node.broadcast(transaction)
        assert caught.value.reason == reason
    with pytest.raises(ReadRefused):
        await chain.node.call_read(_THING, "nothing")


async def test_what_the_chain_does_not_know_is_none(chain: _Chain) -> None:
    """Proves that unknown blocks and transactions are told apart from failures."""
    assert await chain.node.transaction("00" * 32) is None
    assert await chain.node.block(1_000_000) is None
    assert await chain.node.burn_block(1_000_000) is None
    assert await chain.node.block_transactions("ab" * 32) is None
    clock = await chain.node.devnet_clock()
    assert clock is not None
    assert clock.burn_height == (await chain.node.info()).burn_height
    assert await chain.node.estimate_fee(TokenTransfer(StandardPrincipal(_ADDRESS), 1), 180) is not None
