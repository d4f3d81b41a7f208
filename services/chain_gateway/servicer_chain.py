"""The chain as it is: tip, sync state, burn blocks, parameters, prices, snapshot, events."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc

from kernel.database import Database
from kernel.errors import InvalidArgument
from kernel.rpc.interceptors import Context
from services.chain_gateway import convert, store_transactions
from services.chain_gateway.burn_blocks import BurnBlocks
from services.chain_gateway.contract_reads import ContractReads
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.convert_event import timestamp
from services.chain_gateway.event_stream import EventStream
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.snapshot import SnapshotReader
from services.chain_gateway.state import Snapshot, StateFollower

_TIP_SECONDS: Final = 1.0


class ChainServicer(pb_grpc.ChainGatewayServiceServicer):
    """The part of the service that reads."""

    def __init__(
        self, database: Database, nodes: NodePool, contracts: Contracts, state: StateFollower, reads: ContractReads
    ) -> None:
        self._database = database
        self._nodes = nodes
        self._contracts = contracts
        self._state = state
        self._reads = reads
        self._burn_blocks = BurnBlocks(nodes, state)
        self._snapshots = SnapshotReader(database, state, reads)
        self._events = EventStream(database, state, contracts)

    def _tip(self, snapshot: Snapshot) -> pb.Tip:
        return convert.tip(snapshot, self._contracts)

    async def GetTip(self, request: pb.GetTipRequest, context: Context) -> pb.GetTipResponse:
        """The tip that is ingested."""
        return pb.GetTipResponse(tip=self._tip(self._state.snapshot))

    async def WatchTip(self, request: pb.WatchTipRequest, context: Context) -> AsyncIterator[pb.WatchTipResponse]:
        """The tip, then each change; every second at least, for market time may be wall time."""
        while True:
            snapshot = await self._state.first()
            yield pb.WatchTipResponse(tip=self._tip(snapshot))
            await self._state.changed(snapshot, _TIP_SECONDS)

    async def GetSyncState(self, request: pb.GetSyncStateRequest, context: Context) -> pb.GetSyncStateResponse:
        """How far events are ingested and how the nodes answer this process."""
        snapshot = self._state.snapshot
        async with self._database.transaction() as session:
            pending = await store_transactions.count_open(session)
        return pb.GetSyncStateResponse(
            tip=self._tip(snapshot),
            ingested_stacks_height=snapshot.row.stacks_height,
            latest_sequence=snapshot.row.latest_sequence,
            pending_transactions=pending,
            nodes=[convert.node_state(slot) for slot in self._nodes.slots],
        )

    async def GetBurnBlock(self, request: pb.GetBurnBlockRequest, context: Context) -> pb.GetBurnBlockResponse:
        """A burn block by height, or the last at or before a time."""
        match request.WhichOneof("by"):
            case "burn_height":
                block = await self._burn_blocks.at(request.burn_height)
            case "at_or_before_time":
                block = await self._burn_blocks.at_or_before(int(request.at_or_before_time.seconds))
            case _:
                raise InvalidArgument.of("by", "is required")
        time = dt.datetime.fromtimestamp(block.time, dt.UTC)
        return pb.GetBurnBlockResponse(
            burn_height=block.height, burn_block_time=timestamp(time), burn_block_hash=block.hash
        )

    async def ListParameters(self, request: pb.ListParametersRequest, context: Context) -> pb.ListParametersResponse:
        """All on-chain parameters."""
        return await self._reads.parameters()

    async def GetPublishedPrice(
        self, request: pb.GetPublishedPriceRequest, context: Context
    ) -> pb.GetPublishedPriceResponse:
        """The latest published round of a feed."""
        return pb.GetPublishedPriceResponse(round=await self._reads.published_price(request.feed))

    async def GetContractSnapshot(
        self, request: pb.GetContractSnapshotRequest, context: Context
    ) -> pb.GetContractSnapshotResponse:
        """Vault and a page of the registry, read at one block."""
        return await self._snapshots.read(request)

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Events after a cursor, without end."""
        async for response in self._events.watch(request):
            yield response
