"""A consumer of events that outlives the gateways: it comes back by its cursor and believes withdrawals."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from tests.chaos.gateway.customer import Stubs
from tests.integration.chain_gateway.world import SERVICE

_PAUSE_SECONDS: Final = 0.2
_PASSING: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


class Follower:
    """Follows one of the two streams. `events`: what stands, oldest first; `sequence`: the last one seen;
    `complaints`: breaches of the contract."""

    def __init__(self, stubs: Stubs, finality: pb.EventFinality.ValueType, seed: int) -> None:
        self._stubs = stubs
        self._finality = finality
        self._chance = random.Random(f"{seed}/follower/{finality}")
        self._cursor = ""
        self.sequence = 0
        self.events: list[chain_event_pb2.ChainEvent] = []
        self.withdrawals = 0
        self.connections = 0
        self.complaints: list[str] = []

    async def follow(self) -> None:
        """Follows until cancelled, each time at a replica of its choice."""
        while True:
            request = pb.WatchEventsRequest(cursor=self._cursor, finality=self._finality)
            try:
                self.connections += 1
                async for response in self._chance.choice(self._stubs.all).WatchEvents(request, metadata=SERVICE):
                    self.take(response)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _PASSING:
                    self.complaints.append(f"{self.name} {error.code().name}: {error.details()}")
            await asyncio.sleep(_PAUSE_SECONDS)

    @property
    def name(self) -> str:
        """Which stream."""
        return pb.EventFinality.Name(self._finality)

    def take(self, response: pb.WatchEventsResponse) -> None:
        """Takes in what the stream told, and notes what it should not have told."""
        for event in response.events:
            if event.sequence <= self.sequence:
                self.complaints.append(f"{self.name} sequence {event.sequence} after {self.sequence}")
            self.sequence = event.sequence
            if event.withdrawn:
                self._withdraw(event)
            else:
                self.events.append(event)
        self._cursor = response.cursor

    def _withdraw(self, event: chain_event_pb2.ChainEvent) -> None:
        """The newest that stands is withdrawn first; of final events none ever is."""
        self.withdrawals += 1
        if self._finality == pb.EVENT_FINALITY_FINAL:
            self.complaints.append(f"a final event was withdrawn: {place(event)}")
        if self.events and place(self.events[-1]) == place(event):
            self.events.pop()
        else:
            self.complaints.append(f"{self.name} withdrawal of {place(event)}, which is not the newest")


def place(event: chain_event_pb2.ChainEvent) -> tuple[str, str, int]:
    """Where an event is: block, transaction, number."""
    return event.block_hash, event.txid, event.event_index
