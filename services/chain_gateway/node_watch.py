"""Looks at all nodes on a clock: where their tips are, and whether they tell the same chain and the same nonces."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from kernel.log import get_logger
from services.chain_gateway.domain.node_choice import best_height, dissenters, is_behind
from services.chain_gateway.node_slot import NodeSlot
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.node_types import Block

BLOCK: Final = "block"
NONCE: Final = "nonce"


class NodeWatch:
    """Each node is asked by itself, its breaker regarded; so a half-open one gets its probe though nobody else asks.

    Blocks are compared some way below the lowest tip, where nodes on one chain must agree. Nonces move with every
    block, so a node dissents only if it did at the last look too, by the very same answer.
    """

    def __init__(self, nodes: NodePool, accounts: Sequence[str], period_seconds: float) -> None:
        self._nodes = nodes
        self._accounts = accounts
        self._period_seconds = period_seconds
        self._suspects: dict[tuple[str, str], int] = {}

    async def run(self) -> None:
        """Looks again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._period_seconds)

    async def look(self) -> None:
        """One look at all nodes."""
        tips = await self._nodes.ask_each(lambda node: node.block("latest"))
        known = {slot: tip for slot, tip in tips.items() if tip is not None}
        for slot, tip in known.items():
            slot.saw(tip)
        if len(self._nodes.slots) < 2:
            return
        found = {BLOCK: await self._of_other_chains(known), NONCE: await self._of_other_nonces(known)}
        for slot in known:
            for about, names in found.items():
                if slot in names:
                    if not slot.disagrees:
                        get_logger().warning("nodes disagree", url=slot.url, about=about, **names[slot])
                    slot.judged(about, disagrees=True)
            if not any(slot in names for names in found.values()):
                slot.judged("", disagrees=False)

    async def _of_other_chains(self, tips: Mapping[NodeSlot, Block]) -> dict[NodeSlot, dict[str, object]]:
        """Nodes whose block is another one at a height that all of those not behind have had for a while."""
        sound = self._sound(tips)
        if len(sound) < 2:
            return {}
        height = min(tips[slot].height for slot in sound) - self._nodes.bounds.lag_blocks
        blocks = await self._nodes.ask_each(lambda node: node.block(height), sound)
        hashes = {slot: block.index_hash for slot, block in blocks.items() if block is not None}
        return {slot: {"stacks_height": height, "index_hash": hashes[slot]} for slot in dissenters(hashes)}

    async def _of_other_nonces(self, tips: Mapping[NodeSlot, Block]) -> dict[NodeSlot, dict[str, object]]:
        """Nodes that twice in a row told the same nonce of an account of ours, and both times another than most."""
        found: dict[NodeSlot, dict[str, object]] = {}
        suspects: dict[tuple[str, str], int] = {}
        for address in self._accounts:
            accounts = await self._nodes.ask_each(lambda node, who=address: node.account(who), self._sound(tips))  # type: ignore[misc]
            nonces = {slot: account.nonce for slot, account in accounts.items()}
            for slot in dissenters(nonces):
                key = (slot.url, address)
                suspects[key] = nonces[slot]
                if self._suspects.get(key) == nonces[slot]:
                    found[slot] = {"address": address, "nonce": nonces[slot]}
        self._suspects = suspects
        return found

    def _sound(self, tips: Mapping[NodeSlot, Block]) -> list[NodeSlot]:
        """Nodes that are not behind the others: those that are differ because they are."""
        best = best_height([tip.height for tip in tips.values()])
        return [slot for slot in tips if not is_behind(slot.standing, best, self._nodes.bounds)]
