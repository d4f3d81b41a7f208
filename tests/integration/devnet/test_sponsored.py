"""Transactions whose fee another account pays: signed by the outside wallet, sponsored by the gateway's own codec."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from deploy.devnet.faults import FaultDriver
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.transaction import deserialize_transaction, serialize_transaction, single_sig
from services.chain_gateway.stacks.transaction_signing import sign_as_sponsor
from tests.integration.devnet.chain import Chain
from tests.wallet import SignedTransaction, TransactionRejected

NOBODY = "ST000000000000000000002AMW42H"
FEE = 2_000


def sponsor_of(name: str) -> KeySigner:
    """A key by name."""
    return KeySigner(hashlib.sha256(name.encode()).digest() + b"\x01")


def address_of(signer: KeySigner) -> str:
    """Its account."""
    return signer.address(AddressVersion.TESTNET_SINGLE_SIG).text


async def funded(chain: Chain, name: str, ustx: int = 1_000_000) -> KeySigner:
    """A sponsor with STX."""
    signer = sponsor_of(name)
    await chain.mined(await chain.devnet.faucet_stx(address_of(signer), ustx))
    return signer


def sponsored(origin: SignedTransaction, signer: KeySigner, nonce: int, fee: int = FEE) -> str:
    """What the sponsor makes of a transaction that its origin has signed."""
    transaction = deserialize_transaction(bytes.fromhex(origin.raw))
    signed = sign_as_sponsor(transaction, single_sig(signer.public_key, nonce, fee), signer)
    return serialize_transaction(signed).hex()


async def call(chain: Chain, seed: str, contract: str, nonce: int = 0) -> SignedTransaction:
    """A call that adds 1, signed by an origin that pays nothing."""
    return await chain.wallet.call(seed, contract, "add", [f"01{1:032x}"], nonce=nonce, fee=0, sponsored=True)


async def test_sponsor_pays_and_both_nonces_advance(chain: Chain) -> None:
    """An account without any STX calls; fee and a nonce are the sponsor's, and the API tells both."""
    contract = await chain.deploy_tiny("sponsored-owner")
    signer = await funded(chain, "pays")
    origin = await call(chain, "penniless", contract)
    txid = await chain.wallet.broadcast(sponsored(origin, signer, 0))
    mined = await chain.mined(txid)
    assert (mined["tx_status"], mined["fee_rate"], mined["sender_address"]) == ("success", str(FEE), origin.sender)
    assert (mined["sponsored"], mined["sponsor_address"], mined["sponsor_nonce"]) == (True, address_of(signer), 0)
    assert f"(sender {origin.sender})" in mined["events"][0]["contract_log"]["value"]["repr"]
    assert (await chain.nonce(origin.sender), await chain.balance(origin.sender)) == (1, 0)
    assert (await chain.nonce(address_of(signer)), await chain.balance(address_of(signer))) == (1, 1_000_000 - FEE)
    fees = (await chain.devnet.get(f"/extended/v1/address/{address_of(signer)}/balances"))["stx"]["total_fees_sent"]
    assert fees == str(FEE)


async def test_transfer_needs_the_amount_only(chain: Chain) -> None:
    """The origin may send all that they have; one more is refused."""
    signer = await funded(chain, "transfers")
    address = await chain.fund("sends all", 700)
    much = await chain.wallet.transfer("sends all", NOBODY, 701, nonce=0, fee=0, sponsored=True)
    assert (await refused(chain, sponsored(much, signer, 0)))["reason"] == "NotEnoughFunds"
    all_of_it = await chain.wallet.transfer("sends all", NOBODY, 700, nonce=0, fee=0, sponsored=True, memo="all")
    mined = await chain.mined(await chain.wallet.broadcast(sponsored(all_of_it, signer, 0)))
    assert (mined["tx_status"], await chain.balance(address)) == ("success", 0)
    assert bytes.fromhex(mined["token_transfer"]["memo"][2:]).rstrip(b"\0") == b"all"


async def refused(chain: Chain, raw: str) -> dict[str, Any]:
    """The node's rejection of a broadcast."""
    with pytest.raises(TransactionRejected) as caught:
        await chain.wallet.broadcast(raw)
    return dict(caught.value.rejection)


async def test_sponsor_is_checked_like_an_origin(chain: Chain) -> None:
    """Nonce, funds and signature of the sponsor, with the data that says it is the sponsor's."""
    contract = await chain.deploy_tiny("checked-owner")
    signer = await funded(chain, "checked sponsor", 1_500)
    await chain.mined(
        await chain.wallet.broadcast(sponsored(await call(chain, "user 1", contract), signer, 0, fee=500))
    )
    origin = await call(chain, "user 2", contract)
    used = await refused(chain, sponsored(origin, signer, 0))
    data = {"expected": 1, "actual": 0, "is_origin": False, "principal": address_of(signer)}
    assert (used["reason"], used["reason_data"]) == ("BadNonce", data)
    many = await refused(chain, sponsored(origin, signer, 26))
    assert (many["reason"], many["reason_data"]["is_origin"]) == ("TooMuchChaining", False)
    assert (await refused(chain, sponsored(origin, signer, 1)))["reason"] == "NotEnoughFunds"
    good = sponsored(origin, signer, 1, fee=900)
    # The last digit of the sponsor's fee: what they signed was another one.
    at = len(good) - len(origin.raw) + origin.raw.index("00" * 65) - 2
    wrong = [origin.raw, good[:at] + ("00" if good[at : at + 2] != "00" else "01") + good[at + 2 :]]
    assert [(await refused(chain, raw))["reason"] for raw in wrong] == ["SignatureValidation"] * 2
    assert (await chain.mined(await chain.wallet.broadcast(good)))["tx_status"] == "success"


async def test_sponsors_nonces_order_other_accounts(chain: Chain) -> None:
    """Two users and the sponsor itself share the sponsor's nonces; a gap there holds all that follow."""
    contract = await chain.deploy_tiny("ordered-owner")
    signer = await funded(chain, "orders")
    later = await chain.wallet.broadcast(sponsored(await call(chain, "user a", contract), signer, 2))
    middle = await chain.wallet.broadcast(sponsored(await call(chain, "user b", contract), signer, 1))
    await chain.devnet.mine_block()
    nonces = await chain.devnet.get(f"/extended/v1/address/{address_of(signer)}/nonces")
    assert (nonces["detected_missing_nonces"], nonces["possible_next_nonce"]) == ([0], 3)
    first = await chain.wallet.broadcast(sponsored(await call(chain, "user c", contract), signer, 0))
    await chain.devnet.mine_block()
    mined = [await chain.devnet.wait_for(txid) for txid in (first, middle, later)]
    assert [one["tx_index"] for one in mined] == [0, 1, 2]
    assert await chain.nonce(address_of(signer)) == 3


async def test_replacement_at_a_sponsors_nonce(chain: Chain) -> None:
    """The same sponsor nonce for another user replaces at a higher fee, and conflicts otherwise."""
    contract = await chain.deploy_tiny("replaced-owner")
    signer = await funded(chain, "replaces")
    first = await chain.wallet.broadcast(sponsored(await call(chain, "user d", contract), signer, 0))
    other = await call(chain, "user e", contract)
    assert (await refused(chain, sponsored(other, signer, 0)))["reason"] == "ConflictingNonceInMempool"
    second = await chain.mined(await chain.wallet.broadcast(sponsored(other, signer, 0, FEE + 1)))
    dropped = await chain.devnet.get(f"/extended/v1/tx/{first}")
    assert (dropped["tx_status"], dropped["replaced_by_tx_id"]) == ("dropped_replace_by_fee", second["tx_id"])


async def test_fork_takes_back_both_nonces_and_the_fee(chain: Chain) -> None:
    """A lost sponsored transaction was never paid for, and the same bytes are good again."""
    contract = await chain.deploy_tiny("forked-owner")
    signer = await funded(chain, "forked")
    await chain.devnet.mine_block()
    origin = await call(chain, "user f", contract)
    raw = sponsored(origin, signer, 0)
    await chain.mined(await chain.wallet.broadcast(raw))
    await FaultDriver(chain.devnet).fork(1, "lose")
    assert [await chain.nonce(one) for one in (origin.sender, address_of(signer))] == [0, 0]
    assert await chain.balance(address_of(signer)) == 1_000_000
    assert (await chain.mined(await chain.wallet.broadcast(raw)))["tx_status"] == "success"
