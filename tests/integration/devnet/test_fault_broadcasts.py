"""Broadcasts that the network loses, delays, repeats, reorders or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from deploy.devnet.faults import REJECTION_REASONS, BroadcastFaults, Delay, FaultDriver, Faults, Reject
from tests.devnet import DevnetError
from tests.integration.devnet.chain import Chain
from tests.wallet import SignedTransaction, TransactionRejected, WalletError

NOBODY = "ST000000000000000000002AMW42H"
FEE = 1_000


@pytest_asyncio.fixture(loop_scope="session")
async def faults(chain: Chain) -> AsyncIterator[FaultDriver]:
    """The faults of the shared devnet, off again afterwards."""
    driver = FaultDriver(chain.devnet)
    yield driver
    await driver.set(Faults())


async def transfer(chain: Chain, seed: str, nonce: int, amount: int = 1) -> SignedTransaction:
    """A signed transfer to nobody."""
    return await chain.wallet.transfer(seed, NOBODY, amount, nonce=nonce, fee=FEE)


async def known(chain: Chain, txid: str) -> bool:
    """Whether the API knows a transaction."""
    answer = await chain.devnet.get(f"/extended/v1/tx/multiple?tx_id={txid}")
    return bool(answer[txid]["found"])


async def only(faults: FaultDriver, **chances: Any) -> None:
    """These faults of broadcasts."""
    await faults.set(Faults(broadcast=BroadcastFaults(**chances)))


async def test_lost_request_was_never_seen(chain: Chain, faults: FaultDriver) -> None:
    """The connection is reset and the node knows nothing; sent again without the fault it is taken."""
    await chain.fund("lost request")
    signed = await transfer(chain, "lost request", 0)
    await only(faults, lose_request=1)
    with pytest.raises(WalletError):
        await chain.wallet.broadcast(signed.raw)
    assert not await known(chain, signed.txid)
    assert (await faults.clear()).injected == {"broadcast.lose_request": 1}
    assert (await chain.send(signed))["tx_status"] == "success"


async def test_lost_answer_leaves_the_transaction(chain: Chain, faults: FaultDriver) -> None:
    """The connection is reset but the transaction waits and is mined."""
    await chain.fund("lost answer")
    signed = await transfer(chain, "lost answer", 0)
    await only(faults, lose_answer=1)
    with pytest.raises(WalletError):
        await chain.wallet.broadcast(signed.raw)
    assert (await faults.state()).injected == {"broadcast.lose_answer": 1}
    assert (await chain.mined(signed.txid))["tx_status"] == "success"


async def test_forgotten_transaction_is_unknown_and_never_mined(chain: Chain, faults: FaultDriver) -> None:
    """A 200 with the txid, after the checks, and then nothing; also of one that waited already."""
    address = await chain.fund("forgotten")
    fresh, waiting = await transfer(chain, "forgotten", 1), await transfer(chain, "forgotten", 0)
    assert await chain.wallet.broadcast(waiting.raw) == waiting.txid
    await only(faults, forget=1)
    for signed in (fresh, waiting):
        assert await chain.wallet.broadcast(signed.raw) == signed.txid
        assert not await known(chain, signed.txid)
    unpaid = await chain.wallet.transfer("forgotten", NOBODY, 1, nonce=0, fee=1)
    with pytest.raises(TransactionRejected, match="FeeTooLow"):
        await chain.wallet.broadcast(unpaid.raw)
    await chain.devnet.mine_block()
    assert await chain.nonce(address) == 0
    await faults.clear()
    assert (await chain.send(waiting))["tx_status"] == "success"


async def test_duplicate_is_handled_twice_and_mined_once(chain: Chain, faults: FaultDriver) -> None:
    """The second handling finds the first and gives the same txid."""
    address = await chain.fund("duplicate")
    signed = await transfer(chain, "duplicate", 0)
    await only(faults, duplicate=1)
    assert await chain.wallet.broadcast(signed.raw) == signed.txid
    assert (await chain.mined(signed.txid))["tx_status"] == "success"
    assert await chain.nonce(address) == 1
    with pytest.raises(TransactionRejected, match="BadNonce"):
        await chain.wallet.broadcast(signed.raw)
    assert (await faults.state()).injected == {"broadcast.duplicate": 2}


async def test_delayed_one_enters_later_and_is_checked_only_then(chain: Chain, faults: FaultDriver) -> None:
    """Answered at once though its nonce is taken meanwhile by another, which then is the one that counts."""
    await chain.fund("delayed")
    late, quick = await transfer(chain, "delayed", 0, 5), await transfer(chain, "delayed", 0, 6)
    await only(faults, delay=Delay(1, 600_000))
    assert await chain.wallet.broadcast(late.raw) == late.txid
    assert not await known(chain, late.txid)
    # A new configuration lets in what waits.
    assert (await faults.state()).waiting == 1
    await only(faults, delay=Delay(1, 600_000))
    assert await known(chain, late.txid)
    await chain.mined(late.txid)
    assert await chain.wallet.broadcast(quick.raw) == quick.txid
    assert (await faults.clear()).waiting == 0
    assert not await known(chain, quick.txid)


async def test_delay_ends_by_itself(chain: Chain, faults: FaultDriver) -> None:
    """After its milliseconds the transaction waits in the mempool without another request."""
    await chain.fund("late")
    signed = await transfer(chain, "late", 0)
    await only(faults, delay=Delay(1, 1))
    await chain.wallet.broadcast(signed.raw)
    async with asyncio.timeout(60):
        while not await known(chain, signed.txid):
            await asyncio.sleep(0.01)
    assert (await faults.state()).waiting == 0


async def test_reordered_one_comes_after_the_next(chain: Chain, faults: FaultDriver) -> None:
    """Of two transactions the second is mined before the first, which was answered first."""
    await chain.fund("first")
    await chain.fund("second")
    first, second = await transfer(chain, "first", 0), await transfer(chain, "second", 0)
    await only(faults, reorder=1)
    assert await chain.wallet.broadcast(first.raw) == first.txid
    assert not await known(chain, first.txid)
    assert await chain.wallet.broadcast(second.raw) == second.txid
    mined = [await chain.mined(signed.txid) for signed in (first, second)]
    assert mined[0]["block_height"] == mined[1]["block_height"]
    assert [one["tx_index"] for one in mined] == [1, 0]
    assert (await faults.state()).injected == {"broadcast.reorder": 1}


REASON_DATA: dict[str, set[str]] = {
    "BadNonce": {"expected", "actual", "is_origin", "principal"},
    "TooMuchChaining": {"message", "expected", "actual", "is_origin", "principal"},
    "FeeTooLow": {"expected", "actual"},
    "NotEnoughFunds": {"expected", "actual"},
    "ContractAlreadyExists": {"contract_identifier"},
    "TransferRecipientCannotEqualSender": {"recipient"},
    "Serialization": {"message"},
    "Deserialization": {"message"},
    "SignatureValidation": {"message"},
    "BadFunctionArgument": {"message"},
    "ServerFailureDatabase": {"message"},
    "EstimatorError": {"message"},
    "ServerFailureOther": {"message"},
}


@pytest.mark.parametrize("reason", REJECTION_REASONS)
async def test_every_reason_comes_with_its_data(chain: Chain, faults: FaultDriver, reason: str) -> None:
    """A transaction that nothing is wrong with is refused as the node would, and nothing of it stays."""
    signed = await transfer(chain, f"refused {reason}", 7)
    await only(faults, reject=Reject(1, (reason,)))
    with pytest.raises(TransactionRejected) as caught:
        await chain.wallet.broadcast(signed.raw)
    rejection = caught.value.rejection
    assert (rejection["error"], rejection["reason"]) == ("transaction rejected", reason)
    assert rejection["txid"] == signed.txid
    assert set(rejection.get("reason_data", {})) == REASON_DATA.get(reason, set())
    assert not await known(chain, signed.txid)


async def test_same_seed_and_requests_give_the_same_faults(chain: Chain, faults: FaultDriver) -> None:
    """Twice the same thirty broadcasts meet the same faults, and another seed gives others."""
    signed = [await transfer(chain, f"seeded {number}", 0) for number in range(30)]
    chances = BroadcastFaults(lose_request=0.3, reject=Reject(0.4, ("BadNonce", "FeeTooLow", "NoSuchContract")))

    async def outcomes(seed: int) -> list[str]:
        await faults.set(Faults(seed=seed, broadcast=chances))
        return [await outcome(chain, one) for one in signed]

    first = await outcomes(7)
    assert await outcomes(7) == first
    assert await outcomes(8) != first
    assert set(first) >= {"lost", "BadNonce", "FeeTooLow", "NotEnoughFunds"}


async def outcome(chain: Chain, signed: SignedTransaction) -> str:
    """What became of a broadcast, in a word."""
    try:
        await chain.wallet.broadcast(signed.raw)
    except TransactionRejected as error:
        return error.reason
    except WalletError:
        return "lost"
    return "taken"


BAD: dict[str, dict[str, Any]] = {
    "broadcast.lose_request must be a number from 0 to 1": {"broadcast": {"lose_request": 1.1}},
    "broadcast has no lose: it has lose_request": {"broadcast": {"lose": 1}},
    "broadcast must be probabilities with a sum of at most 1, not 1.2": {"broadcast": {"forget": 0.6, "reorder": 0.6}},
    "broadcast.delay.milliseconds must be a whole number": {"broadcast": {"delay": {"probability": 1}}},
    "broadcast.reject.reason must be one of Serialization": {
        "broadcast": {"reject": {"probability": 1, "reason": "Whim"}}
    },
    "broadcast.reject.reason must be a reason or a list": {"broadcast": {"reject": {"probability": 1, "reason": []}}},
    "seed must be a whole number": {"seed": -1},
    "the body has no fork": {"fork": 1},
}


@pytest.mark.parametrize("message", BAD)
async def test_bad_settings_are_refused_to_the_field(chain: Chain, faults: FaultDriver, message: str) -> None:
    """What is misspelt or out of bounds is a 400 that names it, and what was set before stays."""
    before = await faults.set(Faults(seed=3))
    with pytest.raises(DevnetError, match=f"400 .*{message}"):
        await chain.devnet.request("PUT", "/devnet/faults", BAD[message])
    assert await faults.state() == before
