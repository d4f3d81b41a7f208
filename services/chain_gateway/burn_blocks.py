"""Burn blocks by height or time, from a node, kept once they are deep enough."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from kernel.clock import SECONDS_PER_BURN_BLOCK
from kernel.errors import InvalidArgument, NotFound
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.node_types import BurnBlock
from services.chain_gateway.state import StateFollower

_KEPT: Final = 4096
_MARGIN: Final = 6
_SETTLED_DEPTH: Final = 6
"""Burn blocks below this depth are kept: Bitcoin does not reorganise deeper in practice."""


class BurnBlocks:
    """Reads burn blocks up to the ingested tip."""

    def __init__(self, nodes: NodePool, state: StateFollower) -> None:
        self._nodes = nodes
        self._state = state
        self._kept: OrderedDict[int, BurnBlock] = OrderedDict()

    async def at(self, height: int) -> BurnBlock:
        """The burn block of a height; NotFound above the tip, or where the API knows none."""
        block = await self._find(height)
        if block is None:
            raise NotFound("BURN_BLOCK_UNKNOWN", f"there is no burn block {height} yet", burn_height=height)
        return block

    async def at_or_before(self, seconds: int) -> BurnBlock:
        """The last burn block whose time is at most `seconds` (unix); NotFound before the first one."""
        if seconds <= 0:
            raise InvalidArgument.of("at_or_before_time", "is required")
        tip = self._state.snapshot.row
        behind = max(0, int(tip.burn_time.timestamp()) - seconds) // SECONDS_PER_BURN_BLOCK
        guess = max(0, tip.burn_height - behind)
        low, high = max(0, guess - _MARGIN), min(tip.burn_height, guess + _MARGIN)
        if not await self._not_later(low, seconds):
            low, high = 0, low
        elif high < tip.burn_height and await self._not_later(high, seconds):
            low, high = high, tip.burn_height
        while low < high:
            middle = (low + high + 1) // 2
            if await self._not_later(middle, seconds):
                low = middle
            else:
                high = middle - 1
        found = await self._at_or_under(low)
        if found is None or found.time > seconds:
            raise NotFound("BURN_BLOCK_UNKNOWN", "there is no burn block at or before this time")
        return found

    async def _not_later(self, height: int, seconds: int) -> bool:
        """Whether the block of a height, or the nearest known below, is not later than a time."""
        block = await self._at_or_under(height)
        return block is None or block.time <= seconds

    async def _at_or_under(self, height: int) -> BurnBlock | None:
        """The block of a height, or of the nearest one below that the API knows (it may lack a few)."""
        for below in range(height, max(-1, height - 12), -1):
            block = await self._find(below)
            if block is not None:
                return block
        return None

    async def _find(self, height: int) -> BurnBlock | None:
        tip = self._state.snapshot.row.burn_height
        if not 0 <= height <= tip:
            return None
        if height in self._kept:
            self._kept.move_to_end(height)
            return self._kept[height]
        block = await self._nodes.ask(lambda node: node.burn_block(height))
        if block is not None and height <= tip - _SETTLED_DEPTH:
            self._kept[height] = block
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return block
