"""The websocket makes blocks come at once when it works, and nothing late when it does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from services.chain_gateway.block_push import BlockPush
from services.chain_gateway.config import Settings
from tests.integration.chain_gateway.scripted_node import ScriptedNode, scripted_node
from tests.integration.chain_gateway.world import World, running_gateway, scripted_settings, write_key

HOUR_MS = 3_600_000


async def test_a_devnets_push_brings_blocks_long_before_the_poll(world: World, database_url: str) -> None:
    """With an hour between polls a mined block is still ingested at once: the websocket told of it."""
    async with running_gateway(world.settings(database_url, poll_interval_ms=200)) as running:
        await running.tip()
    async with running_gateway(world.settings(database_url, poll_interval_ms=HOUR_MS)) as running:
        await running.tip()
        for _ in range(3):
            clock = await world.devnet.mine_burn_blocks(1)
            await running.tip(burn_height=clock.burn_height)


async def _silent(socket: web.WebSocketResponse) -> None:
    """Takes the subscription and never says a word."""
    async for _ in socket:
        pass


async def _dead(socket: web.WebSocketResponse) -> None:
    """Hangs up at once."""
    await socket.close()


async def _nonsense(socket: web.WebSocketResponse) -> None:
    """Sends what is no JSON-RPC, and is no block."""
    for text in ("", "{", "[]", "7", '{"method": 3}', '{"method": "mempool"}', "[" * 5_000):
        await socket.send_str(text)
    await socket.send_bytes(b"\0\xff")
    await _silent(socket)


async def _lying(socket: web.WebSocketResponse) -> None:
    """Tells of blocks that nobody mined, without end."""
    while not socket.closed:
        await socket.send_str(json.dumps({"jsonrpc": "2.0", "method": "block", "params": {"height": 10**9}}))
        await asyncio.sleep(0)


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    """A node with one empty block."""
    async with scripted_node() as node:
        node.add(1)
        yield node


@pytest.fixture
def settings(node: ScriptedNode, database_url: str, tmp_path: Path) -> Settings:
    """Settings of a gateway on the scripted node."""
    return scripted_settings(database_url, write_key(tmp_path / "key", 5), node.url, poll_interval_ms=100)


@pytest.mark.parametrize("behaviour", [_silent, _dead, _nonsense, _lying])
async def test_a_bad_push_makes_nothing_late(
    node: ScriptedNode, settings: Settings, behaviour: Callable[[web.WebSocketResponse], Awaitable[None]]
) -> None:
    """Whatever the websocket does, each block is ingested by polling, and what is ingested is the node's chain."""
    node.websocket = behaviour
    async with running_gateway(settings) as running:
        for height in range(2, 6):
            block = node.add(height)
            assert (await running.tip(stacks_height=height)).block_hash == block.hash


async def test_hints_without_end_do_not_make_the_poller_spin(node: ScriptedNode) -> None:
    """However many hints come, a wait lasts a tenth of the polling interval at least."""
    node.websocket = _lying
    async with aiohttp.ClientSession() as http:
        push = BlockPush(http, [node.url], poll_seconds=1.0)
        listening = asyncio.create_task(push.run())
        start = asyncio.get_running_loop().time()
        for _ in range(5):
            await push.wait(1.0)
        seconds = asyncio.get_running_loop().time() - start
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert seconds >= 0.5


async def test_a_silent_push_is_opened_anew(node: ScriptedNode) -> None:
    """The watchdog does not trust silence: it hangs up and subscribes again."""
    node.websocket = _silent
    async with aiohttp.ClientSession() as http:
        push = BlockPush(http, [node.url], poll_seconds=1.0, silence_seconds=0.05)
        listening = asyncio.create_task(push.run())
        async with asyncio.timeout(60):
            while node.questions.count("/extended/v1/ws") < 2:
                await asyncio.sleep(0.01)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
