"""Read-only calls of our contracts, kept while nothing can have changed them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import price_pb2

from kernel.errors import NotFound, Unavailable
from services.chain_gateway import clarity_fields as read
from services.chain_gateway.contracts import ORACLE, PARAMETER, Contracts
from services.chain_gateway.convert_event import price_round
from services.chain_gateway.convert_terms import feed_name
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.clarity import Bool, ClarityValue, StringAscii, UInt, serialize
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.node_errors import NodeRefused
from services.chain_gateway.state import StateFollower
from services.chain_gateway.tip_cache import TipCache

PLAIN_PARAMETERS: Final = (
    "admin.delay-blocks",
    "oracle.max-age-blocks",
    "oracle.jump-base-bps",
    "oracle.jump-per-block-bps",
    "oracle.silence-blocks",
    "creation.max-price-move-bps",
    "creation.max-stx-move-bps",
    "creation.margin-bps",
    "creation.min-rate-bps",
    "issuance.max-per-policy-stx",
    "issuance.max-per-policy-sbtc",
    "issuance.max-per-day-stx",
    "issuance.max-per-day-sbtc",
    "withdrawal.max-per-day-stx",
    "withdrawal.max-per-day-sbtc",
    "withdrawal.delay-blocks",
    "withdrawal.pause-max-blocks",
    "settlement.round-distance-blocks",
    "settlement.round-tolerance-bps",
    "settlement.pause-max-blocks",
    "expiry.grace-blocks",
    "expiry.abandoned-blocks",
    "policy.fee-bps",
    "quote.valid-blocks",
)
TIERS: Final = {"conservative": 1, "balanced": 2, "aggressive": 3}
PAUSES: Final = ("creation", "deposits", "withdrawals", "settlement")
# These lapse by themselves with a burn block.
_LAPSING: Final = frozenset(("withdrawals", "settlement"))
_AT_ONCE: Final = 8


class ContractReads:
    """Reads of one process, each asked for once per tip; parameters change only with an event of their contract."""

    def __init__(self, nodes: NodePool, contracts: Contracts, state: StateFollower) -> None:
        self._nodes = nodes
        self._contracts = contracts
        self._state = state
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._lock = asyncio.Lock()
        self._parameters: tuple[int, list[pb.Parameter]] | None = None
        self._paused: tuple[tuple[int, int], list[str]] | None = None
        self._kept = TipCache[ClarityValue]()

    async def call(self, contract: str, function: str, *arguments: ClarityValue) -> ClarityValue:
        """A read-only function of one of ours at our tip; Unavailable when it cannot be read."""
        tip = self._state.snapshot.row.index_hash
        key = (contract, function, *map(serialize, arguments))
        return await self._kept.get(tip, key, lambda: self.call_at(tip, contract, function, *arguments))

    async def call_at(self, block: str, contract: str, function: str, *arguments: ClarityValue) -> ClarityValue:
        """As `call`, at the end of any block, and not kept; BLOCK_UNREADABLE when no node has that block."""
        principal = self._contracts.principal(contract)
        try:
            async with self._gate:
                return await self._nodes.ask(lambda node: node.call_read(principal, function, arguments, tip=block))
        except NodeRefused as error:
            raise Unavailable(
                "CONTRACT_UNREADABLE", f"{contract}.{function} cannot be read: is it deployed?", contract=contract
            ) from error

    async def parameters(self) -> pb.ListParametersResponse:
        """All parameters and what is paused."""
        async with self._lock:
            row = self._state.snapshot.row
            if self._parameters is None or self._parameters[0] != row.parameter_sequence:
                self._parameters = (row.parameter_sequence, await self._read_parameters())
            key = (row.parameter_sequence, row.burn_height)
            if self._paused is None or self._is_stale(self._paused, key):
                self._paused = (key, await self._read_paused())
            return pb.ListParametersResponse(
                parameters=self._parameters[1], paused=self._paused[1], stacks_height=row.stacks_height
            )

    async def tier_haircut_bps(self, tier: int) -> int:
        """How much of the STX price a tier leaves out when it computes a policy's collateral. `tier` is one."""
        prefix = next(name for name, number in TIERS.items() if number == tier)
        name = f"{prefix}.stx-haircut-bps"
        return next(one.value for one in (await self.parameters()).parameters if one.name == name)

    def _is_stale(self, kept: tuple[tuple[int, int], list[str]], key: tuple[int, int]) -> bool:
        return kept[0][0] != key[0] or (kept[0] != key and not _LAPSING.isdisjoint(kept[1]))

    async def _read_parameters(self) -> list[pb.Parameter]:
        values = await asyncio.gather(
            *(self.call(PARAMETER, "get-parameter", StringAscii(name)) for name in PLAIN_PARAMETERS)
        )
        tiers = await asyncio.gather(*(self.call(PARAMETER, "get-tier", UInt(tier)) for tier in TIERS.values()))
        found = [
            pb.Parameter(name=name, value=_uint(value)) for name, value in zip(PLAIN_PARAMETERS, values, strict=True)
        ]
        for prefix, tier in zip(TIERS, tiers, strict=True):
            found.extend(_tier(prefix, tier))
        return found

    async def _read_paused(self) -> list[str]:
        answers = await asyncio.gather(*(self.call(PARAMETER, "is-paused", StringAscii(kind)) for kind in PAUSES))
        return [kind for kind, answer in zip(PAUSES, answers, strict=True) if answer == Bool(True)]

    async def published_price(self, feed: int) -> price_pb2.PriceRound:
        """The latest published round of a feed, as of the tip; NotFound before the first."""
        name = feed_name("feed", feed)
        value = read.optional_of(await self.call(ORACLE, "get-latest-price", StringAscii(name)))
        if value is None:
            raise NotFound("NO_PUBLISHED_PRICE", f"no price of {name} was published yet", feed=name)
        return price_round(read.tuple_of(value))


def _uint(value: ClarityValue) -> int:
    return read.uint_of(read.ok_of(value))


def _tier(prefix: str, value: ClarityValue) -> Sequence[pb.Parameter]:
    fields = read.tuple_of(read.ok_of(value)).fields
    if not fields:
        raise CodecError("a tier without parameters")
    return [pb.Parameter(name=f"{prefix}.{name}", value=read.uint_of(fields[name])) for name in sorted(fields)]
