"""Transactions of users whose fee we pay: by a key of its own, once each, within limits, and never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import transaction_pb2

from deploy.devnet.faults import BroadcastFaults, FaultDriver, Faults, Reject
from kernel.ids import new_id
from services.chain_gateway import store_sponsored, store_transactions
from services.chain_gateway.config import Settings
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.spending import SingleSigCondition
from services.chain_gateway.stacks.transaction import deserialize_transaction, serialize_transaction, single_sig
from services.chain_gateway.stacks.transaction_signing import sign_as_sponsor, verify_transaction
from tests.integration.chain_gateway.wallets import deposit, prepare_deposit, provider, reason, sign, submit
from tests.integration.chain_gateway.world import (
    PATIENCE_SECONDS,
    RunningGateway,
    World,
    running_gateway,
    write_key,
)

_FUNDS = 10**9


class Sponsor:
    """The key that pays, and settings of a gateway that has it."""

    def __init__(self, world: World, folder: Path) -> None:
        path = write_key(folder / "sponsor", 13)
        self.address = KeySigner.from_file(path).address(AddressVersion.TESTNET_SINGLE_SIG).text
        self.uri = f"file:{path}"
        self._world = world

    def settings(self, database_url: str, **changes: Any) -> Settings:
        """Those of the world, with the key."""
        return self._world.settings(database_url, sponsor_signer=self.uri, **changes)

    async def balance(self, address: str) -> int:
        """uSTX of an account."""
        answer = await self._world.devnet.get(f"/v2/accounts/{address}?proof=0")
        return int(answer["balance"], 16)


@pytest.fixture(scope="module")
async def sponsor(world: World, tmp_path_factory: pytest.TempPathFactory) -> Sponsor:
    """A funded key without any rights."""
    paying = Sponsor(world, tmp_path_factory.mktemp("sponsor"))
    await world.devnet.wait_for(await world.devnet.faucet_stx(paying.address, _FUNDS))
    return paying


@pytest.fixture
async def sponsoring(world: World, sponsor: Sponsor, database_url: str) -> AsyncIterator[RunningGateway]:
    """A gateway that pays for users."""
    async with running_gateway(sponsor.settings(database_url)) as running:
        await running.caught_up(world)
        yield running


async def _prepared(world: World, gateway: RunningGateway) -> transaction_pb2.PreparedTransaction:
    request = pb.PrepareTransactionRequest(
        request_id=new_id(),
        public_key=bytes.fromhex(world.provider.public_key),
        deposit=deposit(10**9),
        sponsored=True,
    )
    return (await gateway.stub.PrepareTransaction(request, metadata=provider(world))).prepared_transaction


async def _signed(world: World, prepared: transaction_pb2.PreparedTransaction, **changes: Any) -> bytes:
    return await sign(world, "provider", prepared, **({"sponsored": True} | changes))


async def _refused(
    world: World, gateway: RunningGateway, prepared: transaction_pb2.PreparedTransaction, raw: bytes
) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await submit(gateway, prepared, raw, provider(world))
    return error.value.code(), reason(error.value)


async def _intent(gateway: RunningGateway, prepared: transaction_pb2.PreparedTransaction) -> str:
    """The name of the intent that a prepared transaction became."""
    identifier = prepared.name.removeprefix("preparedTransactions/")
    async with gateway.gateway.database.transaction() as session:
        intent = await store_sponsored.intent_of(session, identifier)
    assert intent is not None
    return f"intents/{intent.id}"


async def _ended(gateway: RunningGateway, prepared: transaction_pb2.PreparedTransaction) -> pb.Intent:
    """The intent of a prepared transaction, once it has ended."""
    return await gateway.intent_where(await _intent(gateway, prepared), lambda one: one.end_time.seconds)


async def test_the_sponsor_pays_and_the_user_acts(world: World, sponsor: Sponsor, sponsoring: RunningGateway) -> None:
    """Proves that a deposit costs its sender nothing but the deposit, and the sponsor's account exactly the fee."""
    before = await sponsor.balance(world.provider.address), await sponsor.balance(sponsor.address)
    prepared = await _prepared(world, sponsoring)
    assert (prepared.sponsored, prepared.suggested_fee_ustx) == (True, 0)
    raw = await _signed(world, prepared)
    unsigned, signed = deserialize_transaction(prepared.unsigned_transaction), deserialize_transaction(raw)
    assert isinstance(signed.origin, SingleSigCondition)
    assert replace(signed, origin=unsigned.origin, sponsor=unsigned.sponsor) == unsigned
    sent = await submit(sponsoring, prepared, raw, provider(world))
    assert (sent.sender_principal, sent.sponsor_principal) == (world.provider.address, sponsor.address)
    assert sent.nonce == prepared.suggested_nonce
    assert await world.mined(sent.txid) == "success"
    after = await sponsor.balance(world.provider.address), await sponsor.balance(sponsor.address)
    assert (before[0] - after[0], before[1] - after[1]) == (10**9, sent.fee_ustx)
    await world.devnet.mine_burn_blocks(1)
    done = await _ended(sponsoring, prepared)
    assert (done.state, [one.txid for one in done.transactions]) == (pb.INTENT_STATE_CONFIRMED, [sent.txid])
    again = await submit(sponsoring, prepared, raw, provider(world))
    assert (again.txid, again.state, again.result) == (sent.txid, pb.TRANSACTION_STATE_CONFIRMED, "(ok true)")


async def test_each_difference_of_a_sponsored_transaction_has_its_reason(
    world: World, sponsor: Sponsor, sponsoring: RunningGateway
) -> None:
    """Proves that what a wallet signed is compared in full before any key of ours signs it too."""
    prepared, plain = await _prepared(world, sponsoring), await prepare_deposit(world, sponsoring, amount=10**9)
    raw = await _signed(world, prepared)
    payer = KeySigner(bytes(31) + b"\x09\x01")
    other = sign_as_sponsor(deserialize_transaction(raw), single_sig(payer.public_key, 0, 300), payer)
    invalid = (grpc.StatusCode.INVALID_ARGUMENT, "")
    cases = {
        "NOT_SPONSORED": await _signed(world, prepared, sponsored=False),
        "FEE_OUT_OF_BOUNDS": await _signed(world, prepared, fee=1),
        "OTHER_SPONSOR": serialize_transaction(other),
        "WRONG_SENDER": await sign(world, "holder", prepared, sponsored=True),
        "MISSING_SIGNATURE": prepared.unsigned_transaction,
    }
    for expected, attempt in cases.items():
        assert await _refused(world, sponsoring, prepared, attempt) == (invalid[0], expected)
    assert await _refused(world, sponsoring, plain, raw) == (invalid[0], "SPONSORED_TRANSACTION")
    late = await _signed(world, prepared, nonce=prepared.suggested_nonce + 1)
    assert await _refused(world, sponsoring, prepared, late) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "NONCE_NOT_NEXT",
    )


async def test_nobody_pays_unless_it_is_set_up(world: World, gateway: RunningGateway) -> None:
    """Proves that a gateway without the sponsor's key prepares no sponsored transaction."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await _prepared(world, gateway)
    assert (error.value.code(), reason(error.value)) == (grpc.StatusCode.FAILED_PRECONDITION, "SPONSORSHIP_OFF")


async def test_an_account_is_sponsored_one_at_a_time_and_so_often_a_day(
    world: World, sponsor: Sponsor, database_url: str
) -> None:
    """Proves both limits of an account, also for many submissions at once, and that a prepared one is used once."""
    async with running_gateway(sponsor.settings(database_url, sponsor_most_per_day=1)) as gateway:
        await gateway.caught_up(world)
        first, *others = [await _prepared(world, gateway) for _ in range(5)]
        attempts = [first, *others]
        signed = [await _signed(world, one) for one in attempts]
        answers = await asyncio.gather(
            *(submit(gateway, one, raw, provider(world)) for one, raw in zip(attempts, signed, strict=True)),
            return_exceptions=True,
        )
        taken = [one for one in answers if isinstance(one, pb.Transaction)]
        refused = {reason(one) for one in answers if isinstance(one, grpc.aio.AioRpcError)}
        assert len(taken) == 1
        assert refused == {"SPONSORED_ONE_OPEN"}
        assert await world.mined(taken[0].txid) == "success"
        used = attempts[next(index for index, one in enumerate(answers) if isinstance(one, pb.Transaction))]
        resigned = await _signed(world, used, nonce=used.suggested_nonce + 1)
        assert await _refused(world, gateway, used, resigned) == (
            grpc.StatusCode.ALREADY_EXISTS,
            "PREPARED_TRANSACTION_USED",
        )
        await world.devnet.mine_burn_blocks(1)
        await _ended(gateway, used)
        another = await _prepared(world, gateway)
        raw = await _signed(world, another)
        assert await _refused(world, gateway, another, raw) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SPONSORED_TODAY")


async def test_what_the_signing_policy_does_not_allow_is_said_and_never_sent(
    world: World, sponsor: Sponsor, database_url: str, tmp_path: Path
) -> None:
    """Proves that a day's fees are bounded for all users together, and that the refusal ends the intent."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '["sponsored-transaction"]\nmost = { ustx = 100 }\nmost_per_day = { ustx = 100 }\nmost_per_minute = 1\n'
    )
    async with running_gateway(sponsor.settings(database_url, signing_policy_file=str(policy))) as gateway:
        await gateway.caught_up(world)
        prepared = await _prepared(world, gateway)
        raw = await _signed(world, prepared)
        code = await _refused(world, gateway, prepared, raw)
        assert code == (grpc.StatusCode.FAILED_PRECONDITION, "SPONSORSHIP_REFUSED")
        assert (await _ended(gateway, prepared)).reason == "VALUE_TOO_LARGE"


async def test_a_user_who_uses_the_nonce_elsewhere_stops_nobody(
    world: World, sponsor: Sponsor, database_url: str
) -> None:
    """Proves that a sponsored transaction that can never be mined is given up, its nonce filled, the next one mined."""
    settings = sponsor.settings(database_url)
    async with running_gateway(settings, only=("state", "pulse", "ingest")) as gateway:
        await gateway.caught_up(world)
        prepared = await _prepared(world, gateway)
        raw = await _signed(world, prepared)
        code = await _refused(world, gateway, prepared, raw)
        assert code == (grpc.StatusCode.UNAVAILABLE, "NOT_SIGNED_YET")
    own = await world.wallet.transfer("provider", world.holder.address, 1, nonce=prepared.suggested_nonce)
    assert await world.mined(await world.wallet.broadcast(own.raw)) == "success"
    async with running_gateway(settings) as gateway:
        await _given_up(world, gateway, prepared)
        again = await _prepared(world, gateway)
        sent = await submit(gateway, again, await _signed(world, again), provider(world))
        assert await world.mined(sent.txid) == "success"


async def _given_up(world: World, gateway: RunningGateway, prepared: transaction_pb2.PreparedTransaction) -> None:
    """Mines burn blocks until the intent has ended CANCELLED, which a block with its nonce proves."""
    ended = asyncio.ensure_future(_ended(gateway, prepared))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not ended.done():
            await asyncio.wait([ended], timeout=0.3)
            await world.devnet.mine_burn_blocks(1)
    assert ended.result().state == pb.INTENT_STATE_CANCELLED


async def test_a_replacement_is_sponsored_at_a_higher_fee(world: World, sponsoring: RunningGateway) -> None:
    """Proves that raising a fee signs the same transaction of the user's anew, and no user is asked again."""
    prepared = await _prepared(world, sponsoring)
    raw = await _signed(world, prepared)
    faults = FaultDriver(world.devnet)
    await faults.set(Faults(broadcast=BroadcastFaults(reject=Reject(1.0, ("FeeTooLow",)))))
    first = await submit(sponsoring, prepared, raw, provider(world))
    name = await _intent(sponsoring, prepared)
    await sponsoring.intent_where(name, lambda one: len(one.transactions) > 1)
    await faults.clear()
    done = await sponsoring.intent_where(name, lambda one: any(tx.stacks_height for tx in one.transactions))
    mined = next(tx for tx in done.transactions if tx.stacks_height)
    assert (mined.nonce, mined.fee_ustx > first.fee_ustx) == (prepared.suggested_nonce, True)
    assert (await submit(sponsoring, prepared, raw, provider(world))).txid == mined.txid
    async with sponsoring.gateway.database.transaction() as session:
        row = await store_transactions.get(session, mined.txid)
    assert row is not None
    signed = deserialize_transaction(row.raw)
    assert signed.origin == deserialize_transaction(raw).origin
    assert verify_transaction(signed).origin_keys == (bytes.fromhex(world.provider.public_key),)
