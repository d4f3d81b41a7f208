"""What the mempool takes and refuses, with the node's reasons; gaps and replacements."""

from __future__ import annotations

from typing import Any

import pytest

from services.chain_gateway.stacks.clarity import Int, UInt, to_hex
from tests.integration.devnet.chain import TINY, Chain
from tests.wallet import SignedTransaction, TransactionRejected

NOBODY = "ST000000000000000000002AMW42H"


async def refused(chain: Chain, transaction: SignedTransaction | str) -> TransactionRejected:
    """The node's rejection of a broadcast."""
    raw = transaction if isinstance(transaction, str) else transaction.raw
    with pytest.raises(TransactionRejected) as caught:
        await chain.wallet.broadcast(raw)
    assert caught.value.rejection["error"] == "transaction rejected"
    return caught.value


async def transfer(chain: Chain, seed: str, amount: int = 1, **common: Any) -> SignedTransaction:
    """A signed transfer to nobody."""
    return await chain.wallet.transfer(seed, NOBODY, amount, **common)


async def test_nonce_gap_waits_until_it_is_filled(chain: Chain) -> None:
    """A later nonce is taken but not mined; the API names the gap; filling it mines both."""
    address = await chain.fund("gap")
    later = await chain.wallet.broadcast((await transfer(chain, "gap", nonce=1)).raw)
    await chain.devnet.mine_block()
    assert (await chain.devnet.get(f"/extended/v1/tx/{later}"))["tx_status"] == "pending"
    nonces = await chain.devnet.get(f"/extended/v1/address/{address}/nonces")
    assert (nonces["detected_missing_nonces"], nonces["possible_next_nonce"]) == ([0], 2)
    await chain.send(await transfer(chain, "gap", nonce=0))
    assert (await chain.devnet.wait_for(later))["tx_status"] == "success"
    assert await chain.nonce(address) == 2


async def test_replacement_needs_a_higher_fee(chain: Chain) -> None:
    """The same nonce replaces at a higher fee and conflicts otherwise; what was replaced says so."""
    await chain.fund("replace")
    first = await chain.wallet.broadcast((await transfer(chain, "replace", 1, nonce=0, fee=300)).raw)
    same_fee = await refused(chain, await transfer(chain, "replace", 2, nonce=0, fee=300))
    assert same_fee.reason == "ConflictingNonceInMempool"
    second = await chain.send(await transfer(chain, "replace", 3, nonce=0, fee=301))
    dropped = await chain.devnet.get(f"/extended/v1/tx/{first}")
    assert (second["tx_status"], dropped["tx_status"]) == ("success", "dropped_replace_by_fee")
    assert dropped["replaced_by_tx_id"] == second["tx_id"]


async def test_same_transaction_twice_is_one(chain: Chain) -> None:
    """A second broadcast of a pending transaction gives the same txid; once mined it is a bad nonce."""
    address = await chain.fund("twice")
    signed = await transfer(chain, "twice", nonce=0)
    assert await chain.wallet.broadcast(signed.raw) == await chain.wallet.broadcast(signed.raw) == signed.txid
    await chain.mined(signed.txid)
    rejection = (await refused(chain, signed)).rejection
    data = {"expected": 1, "actual": 0, "is_origin": True, "principal": address}
    assert (rejection["reason"], rejection["reason_data"]) == ("BadNonce", data)


async def test_at_most_25_wait_per_account(chain: Chain) -> None:
    """Nonces 0 to 24 are taken before a block, nonce 25 is not."""
    await chain.fund("chained")
    for nonce in range(25):
        await chain.wallet.broadcast((await transfer(chain, "chained", nonce=nonce)).raw)
    assert (await refused(chain, await transfer(chain, "chained", nonce=25))).reason == "TooMuchChaining"
    await chain.devnet.mine_block()
    assert await chain.nonce((await chain.wallet.address("chained")).address) == 25


async def test_fee_and_funds(chain: Chain) -> None:
    """A fee below one uSTX per byte, and amounts that the sender has not, are refused with the figures."""
    await chain.fund("poor", 10_000)
    low = (await refused(chain, await transfer(chain, "poor", nonce=0, fee=179))).rejection
    assert (low["reason"], low["reason_data"]) == ("FeeTooLow", {"expected": 180, "actual": 179})
    much = (await refused(chain, await transfer(chain, "poor", 9_801, nonce=0, fee=200))).rejection
    assert (much["reason"], int(much["reason_data"]["expected"], 16)) == ("NotEnoughFunds", 10_001)
    costly = await chain.wallet.deploy("poor", "costly", TINY, nonce=0, fee=10_001)
    assert (await refused(chain, costly)).reason == "NotEnoughFunds"


async def test_signature_chain_and_version_are_checked(chain: Chain) -> None:
    """Tampered bytes, another chain id and another network's version do not validate."""
    await chain.fund("signed")
    signed = await transfer(chain, "signed", nonce=0)
    tampered = signed.raw[:-70] + ("1" if signed.raw[-70] != "1" else "2") + signed.raw[-69:]
    wrong = [
        await refused(chain, tampered),
        await refused(chain, await transfer(chain, "signed", nonce=0, fee=200, chain_id=1)),
        await refused(chain, await transfer(chain, "signed", nonce=0, fee=200, network="mainnet")),
    ]
    assert [one.reason for one in wrong] == ["SignatureValidation"] * 3


async def test_bytes_that_are_no_transaction(chain: Chain) -> None:
    """Nothing, garbage, a cut-off transaction and trailing bytes are refused as such."""
    await chain.fund("bytes")
    raw = (await transfer(chain, "bytes", nonce=0)).raw
    for bad in ("", "00", "ff" * 200, raw[:-2], raw + "00"):
        assert (await refused(chain, bad)).reason == "Deserialization"


async def test_calls_are_checked_against_the_contract(chain: Chain) -> None:
    """Contract, function and arguments must exist and fit; a name cannot be deployed twice."""
    contract = await chain.deploy_tiny("checked")
    call, five = chain.wallet.call, [to_hex(UInt(5))]
    assert (await refused(chain, await call("checked", f"{contract}x", "add", five))).reason == "NoSuchContract"
    assert (await refused(chain, await call("checked", contract, "nope", five))).reason == "NoSuchPublicFunction"
    private = await refused(chain, await call("checked", contract, "get-total", []))
    assert private.reason == "NoSuchPublicFunction"
    for arguments in ([], [to_hex(Int(5))], five * 2):
        assert (await refused(chain, await call("checked", contract, "add", arguments))).reason == "BadFunctionArgument"
    elsewhere = "SP2J4D6CDAPKKD7CJZT8420Y6FA7Z8DK7MMHHGGMY.tiny"
    assert (await refused(chain, await call("checked", elsewhere, "add", five))).reason == "BadAddressVersionByte"
    again = await chain.wallet.deploy("checked", "tiny", TINY)
    assert (await refused(chain, again)).reason == "ContractAlreadyExists"


async def test_what_cannot_be_paid_when_its_turn_comes_stays_behind(chain: Chain) -> None:
    """A fee that an earlier transaction of the block has spent leaves it, and the sender's later ones, pending."""
    address = await chain.fund("spent", 100_000)
    await chain.wallet.broadcast((await transfer(chain, "spent", 99_000, nonce=0, fee=200)).raw)
    later = [await transfer(chain, "spent", 1, nonce=1, fee=900), await transfer(chain, "spent", 1, nonce=2, fee=200)]
    for signed in later:
        await chain.wallet.broadcast(signed.raw)
    await chain.devnet.mine_block()
    assert (await chain.nonce(address), await chain.balance(address)) == (1, 800)
    await chain.mined(await chain.devnet.faucet_stx(address, 5_000))
    await chain.devnet.mine_block()
    assert await chain.nonce(address) == 3
