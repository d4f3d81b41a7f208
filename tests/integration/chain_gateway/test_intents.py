"""Intents: once per key, through nonce, signature, storage and broadcast to finality."""

from __future__ import annotations

import asyncio

import grpc
import pytest
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2
from sqlmodel import select

from kernel.ids import new_id
from kernel.rpc.caller import Role
from services.chain_gateway.tables import METADATA, ChainTransaction
from tests.integration.chain_gateway.world import SERVICE, USD, RunningGateway, World, running_gateway
from tests.tokens import metadata


async def _publish_call(world: World, price: int = 50_000 * USD) -> pb.ContractCall:
    message = await world.round(price_pb2.FEED_BTC_USD, price)
    return pb.ContractCall(publish_price=pb.PublishPriceCall(round=message))


async def test_an_intent_is_confirmed_only_at_finality(world: World, gateway: RunningGateway) -> None:
    """Mined is PENDING; CONFIRMED comes with the burn block on top, for the transaction and the intent alike."""
    intent = await gateway.create_intent(f"publish/{new_id()}", await _publish_call(world))
    mined = await gateway.intent_where(intent.name, lambda one: any(tx.stacks_height for tx in one.transactions))
    assert mined.state == pb.INTENT_STATE_SUBMITTED
    assert [tx.state for tx in mined.transactions] == [pb.TRANSACTION_STATE_PENDING]
    await world.devnet.mine_burn_blocks(1)
    done = await gateway.intent_where(intent.name, lambda one: one.state == pb.INTENT_STATE_CONFIRMED)
    assert [tx.state for tx in done.transactions] == [pb.TRANSACTION_STATE_CONFIRMED]
    assert done.transactions[0].result == "(ok true)"
    assert done.transactions[0].burn_confirmations == 1
    assert done.end_time.seconds


async def test_the_same_key_is_one_intent(world: World, gateway: RunningGateway) -> None:
    """Twenty equal requests at once are one intent and one transaction; another call under the key is refused."""
    key, call = f"publish/{new_id()}", await _publish_call(world)
    answers = await asyncio.gather(*(gateway.create_intent(key, call) for _ in range(20)))
    assert len({one.name for one in answers}) == 1
    await gateway.intent_where(answers[0].name, lambda one: any(tx.stacks_height for tx in one.transactions))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.create_intent(key, await _publish_call(world))
    assert error.value.code() is grpc.StatusCode.ALREADY_EXISTS
    again = await gateway.stub.GetIntent(pb.GetIntentRequest(name=answers[0].name), metadata=SERVICE)
    assert len(again.intent.transactions) == 1


async def test_a_contracts_refusal_ends_the_intent_aborted(world: World, gateway: RunningGateway) -> None:
    """A price too far from the one before: the intent is ABORTED at finality, with the contract's error number."""
    await gateway.publish(world, price_pb2.FEED_BTC_USD, 50_000 * USD)
    intent = await gateway.create_intent(f"publish/{new_id()}", await _publish_call(world, 500_000 * USD))
    await gateway.intent_where(intent.name, lambda one: any(tx.stacks_height for tx in one.transactions))
    await world.devnet.mine_burn_blocks(1)
    refused = await gateway.intent_where(intent.name, lambda one: one.end_time.seconds)
    assert (refused.state, refused.contract_error) == (pb.INTENT_STATE_ABORTED, 2007)
    assert refused.transactions[0].result == "(err u2007)"


async def test_what_is_done_already_is_not_sent_again(world: World, gateway: RunningGateway) -> None:
    """A round that is published finally: another intent for it is CONFIRMED without a transaction, and says why."""
    call = await _publish_call(world)
    first = await gateway.create_intent(f"publish/{new_id()}", call)
    await gateway.intent_where(first.name, lambda one: any(tx.stacks_height for tx in one.transactions))
    await world.devnet.mine_burn_blocks(1)
    await gateway.intent_where(first.name, lambda one: one.state == pb.INTENT_STATE_CONFIRMED)
    second = await gateway.create_intent(f"publish/{new_id()}", call)
    done = await gateway.intent_where(second.name, lambda one: one.end_time.seconds)
    assert (done.state, done.reason) == (pb.INTENT_STATE_CONFIRMED, "EFFECT_BY_OTHERS")
    assert not done.transactions


async def test_many_intents_pass_the_limit_of_25_in_order(world: World, gateway: RunningGateway) -> None:
    """Sixty intents at once: all mined, with consecutive nonces and no gap."""
    calls = [await _publish_call(world, (50_000 + number) * USD) for number in range(60)]
    intents = [await gateway.create_intent(f"publish/{new_id()}", call) for call in calls]
    mined = [
        await gateway.intent_where(one.name, lambda one: any(tx.stacks_height for tx in one.transactions))
        for one in intents
    ]
    nonces = [one.transactions[0].nonce for one in mined]
    assert nonces == list(range(nonces[0], nonces[0] + 60))


async def test_what_is_stored_and_not_sent_is_sent_after_a_restart(world: World, database_url: str) -> None:
    """A process that dies between storing and broadcasting: the next one sends the same bytes."""
    settings = world.settings(database_url)
    async with running_gateway(settings, only=("state", "pulse", "ingest")) as running:
        await running.caught_up(world)
        intent = await running.create_intent(f"publish/{new_id()}", await _publish_call(world))
        [row] = await running.gateway.dispatcher.allocation.sign_next(world.backend_address)
        assert row.intent_id == intent.name.removeprefix("intents/")
    async with running_gateway(settings) as running:
        done = await running.intent_where(intent.name, lambda one: any(tx.stacks_height for tx in one.transactions))
        assert [tx.txid for tx in done.transactions] == [row.txid]
        async with running.gateway.database.transaction() as session:
            stored = (await session.exec(select(ChainTransaction))).one()
        assert stored.raw == row.raw and stored.sends > row.sends


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (pb.ContractCall(), "call"),
        (pb.ContractCall(publish_price=pb.PublishPriceCall()), "call.publish_price.round.signature"),
        (
            pb.ContractCall(
                settle_policy=pb.SettlePolicyCall(
                    onchain_id=0, max_payout=money_pb2.TokenAmount(token=money_pb2.TOKEN_STX, base_units=1)
                )
            ),
            "call.settle_policy.onchain_id",
        ),
    ],
)
async def test_malformed_calls_are_refused(gateway: RunningGateway, call: pb.ContractCall, field: str) -> None:
    """INVALID_ARGUMENT names the field; nothing is stored."""
    key = f"bad/{new_id()}"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.create_intent(key, call)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in (error.value.details() or "")


async def test_only_services_create_intents(gateway: RunningGateway) -> None:
    """A holder may not make the backend key sign."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await gateway.stub.CreateIntent(pb.CreateIntentRequest(key="x"), metadata=metadata("ST1", Role.HOLDER))
    assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_the_key_is_in_no_table_no_log_and_no_text(
    world: World, gateway: RunningGateway, capfd: pytest.CaptureFixture[str]
) -> None:
    """After signing, the private key is found in no row of the schema, no output and no representation of a part."""
    secret = world.backend_key.read_text()[:64]
    await gateway.publish(world, price_pb2.FEED_BTC_USD, 50_000 * USD)
    async with gateway.gateway.database.transaction() as session:
        connection = await session.connection()
        rows = [
            str(row)
            for table in METADATA.sorted_tables
            for row in await connection.execute(sa.text(f"SELECT t::text FROM {table.fullname} t"))
        ]
    output = capfd.readouterr()
    texts = [*rows, output.out, output.err, repr(gateway.gateway), repr(world.settings("")), repr(world.oracle)]
    assert len(rows) > 10
    assert not [text for text in texts if secret in text.lower()]
