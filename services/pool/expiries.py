"""What has expired and has no receipt yet: valued by the average that will be signed, not by the market.

That average is public from the burn block of the expiration on; the receipt is made once the height with grace is
final.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.oracle.v1 import oracle_service_pb2_grpc as grpc_api

from kernel.database import Database
from kernel.rpc.channels import remote_errors
from kernel.rpc.tip import TipFollower
from services.pool import convert, store_decisions
from services.pool.domain.decision import ExpiryPrices

_DEADLINE_SECONDS: Final = 5.0
# As many as the oracle answers for at once.
_HEIGHTS: Final = 50


class Expiries:
    """Asks the oracle once per block of the chain: with that alone, what it answers for a height may change."""

    def __init__(self, database: Database, oracle: grpc.aio.Channel, tip: TipFollower) -> None:
        self._database = database
        self._stub = grpc_api.OracleServiceStub(oracle)
        self._tip = tip
        self._block_hash = ""
        self._known: dict[int, ExpiryPrices] = {}

    async def undecided(self) -> tuple[ExpiryPrices, ...]:
        """Of every height that the tip has reached, where a policy is open and no receipt is known.

        Unavailable while the oracle does not answer for each of them.
        """
        tip = self._tip.tip
        async with self._database.reading() as session:
            heights = await store_decisions.undecided_heights(session, tip.burn_height)
        if tip.block_hash != self._block_hash:
            self._block_hash, self._known = tip.block_hash, {}
        known = self._known
        missing = [height for height in heights if height not in known]
        for first in range(0, len(missing), _HEIGHTS):
            known.update(await self._ask(missing[first : first + _HEIGHTS]))
        return tuple(known[height] for height in heights)

    async def _ask(self, heights: Sequence[int]) -> dict[int, ExpiryPrices]:
        request = pb.PreviewExpiryReceiptsRequest(expiration_burn_heights=heights)
        with remote_errors():
            answer = await self._stub.PreviewExpiryReceipts(request, timeout=_DEADLINE_SECONDS)
        found = map(convert.expiry_prices, answer.previews)
        return {one.expiration_burn_height: one for one in found}
