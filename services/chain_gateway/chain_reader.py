"""Reads a node's chain upwards: its head, and the blocks above a height, each on top of the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from kernel.errors import Aborted, Unavailable
from services.chain_gateway.nodes import NodePool, StickyNodes
from services.chain_gateway.stacks.node import BLOCKS_PER_PAGE, StacksNode
from services.chain_gateway.stacks.node_types import Block

BLOCKS_PER_STEP: Final = 240
_DRIFT: Final = 5
"""Blocks read besides, so that a chain that grows meanwhile does not push the next block off the pages."""


class ChainReader:
    """Reads blocks through whatever node answers: what it gives is linked by parent hashes, whoever answered."""

    def __init__(self, nodes: NodePool | StickyNodes) -> None:
        self._nodes = nodes

    async def head(self) -> Block:
        """The top of the chain; Unavailable when there is none yet."""
        head = await self._nodes.ask(self._latest)
        if head is None:
            raise Unavailable("NO_BLOCKS", "the node knows no block yet")
        return head

    async def block(self, stacks_height: int) -> Block | None:
        """The canonical block of a height; None where there is none."""
        return await self._nodes.ask(lambda node: node.block(stacks_height))

    async def blocks_above(self, stacks_height: int, head: Block) -> list[Block]:
        """Blocks from the next height on, `BLOCKS_PER_STEP` at most; empty when the node has none."""
        distance = head.height - stacks_height
        if distance <= 0:
            return []
        if distance == 1:
            return [head]
        wanted = min(distance, BLOCKS_PER_STEP)
        lowest = max(0, distance - wanted - _DRIFT)
        pages = await asyncio.gather(*(self._page(offset) for offset in range(lowest, distance, BLOCKS_PER_PAGE)))
        by_height = {block.height: block for page in pages for block in page}
        blocks: list[Block] = []
        while (block := by_height.get(stacks_height + 1 + len(blocks))) is not None:
            if blocks and block.parent_index_hash != blocks[-1].index_hash:
                break
            blocks.append(block)
        return blocks

    async def blocks_below(self, stacks_height: int, head: Block) -> list[Block]:
        """A page of blocks from a height down, newest first; Aborted when the chain moved since `head` was read."""
        page = await self._page(max(0, head.height - stacks_height))
        # A chain that has grown moves the page up, one that lost blocks moves it down.
        blocks = [block for block in page if block.height <= stacks_height]
        if not blocks or blocks[0].height != stacks_height:
            raise Aborted("CHAIN_MOVED", f"the chain moved while blocks from height {stacks_height} down were read")
        return blocks

    async def _page(self, offset: int) -> Sequence[Block]:
        return await self._nodes.ask(lambda node: node.blocks(BLOCKS_PER_PAGE, offset))

    async def _latest(self, node: StacksNode) -> Block | None:
        head = await node.block("latest")
        if head is not None:
            self._nodes.note_tip(node, head)
        return head
