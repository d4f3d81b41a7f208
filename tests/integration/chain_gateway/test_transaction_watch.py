"""A transaction is followed from where it stands to its end, whoever sent it."""

from __future__ import annotations

import asyncio
import itertools

import grpc
import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel.rpc.caller import Role
from tests.integration.chain_gateway.wallets import prepare_deposit, provider, reason, sign, submit
from tests.integration.chain_gateway.world import PATIENCE_SECONDS, RunningGateway, World
from tests.tokens import metadata


async def _seen(world: World, gateway: RunningGateway, txid: str) -> list[pb.Transaction]:
    """All that a watch tells, up to its own end; burn blocks are mined once the transaction is."""
    found: list[pb.Transaction] = []
    caller = metadata(world.holder.address, Role.HOLDER)
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for answer in gateway.stub.WatchTransaction(pb.WatchTransactionRequest(txid=txid), metadata=caller):
            found.append(answer.transaction)
            if answer.transaction.stacks_height and not answer.transaction.burn_confirmations:
                await world.devnet.mine_burn_blocks(1)
    return found


async def test_a_transaction_of_ours_is_watched_to_its_end(world: World, gateway: RunningGateway) -> None:
    """Proves that a stream tells what is known, then each change, and ends when the transaction has."""
    prepared = await prepare_deposit(world, gateway)
    sent = await submit(gateway, prepared, await sign(world, "provider", prepared), provider(world))
    seen = await _seen(world, gateway, sent.txid)
    assert {one.txid for one in seen} == {sent.txid}
    assert (seen[-1].state, seen[-1].result) == (pb.TRANSACTION_STATE_CONFIRMED, "(ok true)")
    assert all(one != other for one, other in itertools.pairwise(seen))
    assert [one.txid for one in await _seen(world, gateway, f"0x{sent.txid.upper()}")] == [sent.txid]


async def test_a_transaction_of_a_stranger_is_watched_to_its_end(world: World, gateway: RunningGateway) -> None:
    """Proves the same of a transaction that only the node knows, one that the contract refused."""
    arguments = ["01" + "00" * 15 + "63"]
    contract = f"{world.deployer}.policy-registry"
    signed = await world.wallet.call("provider", contract, "request-activation", arguments)
    txid = await world.wallet.broadcast(signed.raw)
    seen = await _seen(world, gateway, txid)
    assert seen[-1].state == pb.TRANSACTION_STATE_ABORTED
    assert seen[-1].result.startswith("(err u")
    assert (seen[-1].sender_principal, seen[-1].function) == (world.provider.address, "request-activation")


async def test_what_nobody_knows_is_not_watched(world: World, gateway: RunningGateway) -> None:
    """Proves that an unknown id ends the stream as NOT_FOUND, a malformed one as INVALID_ARGUMENT."""
    caller = metadata(world.holder.address, Role.HOLDER)
    for txid, code, expected in (
        ("ab" * 32, grpc.StatusCode.NOT_FOUND, "UNKNOWN_TRANSACTION"),
        ("ab" * 31, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            async for _ in gateway.stub.WatchTransaction(pb.WatchTransactionRequest(txid=txid), metadata=caller):
                pass
        assert (error.value.code(), reason(error.value)) == (code, expected)
