"""What the final events of the chain say of a few policies, read from the gateway from the first one on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc

from kernel.errors import Unavailable
from kernel.ids import resource_name
from kernel.rpc.channels import remote_errors
from services.policy.domain.policy import COLLECTION
from services.policy.domain.transitions import PolicyState
from services.policy.projection import Event
from services.policy.store_projection import Projection


@dataclass
class ChainWord:
    """The events of one policy that stand, and those that were withdrawn, in their order."""

    created: Event | None = None
    end: Event | None = None
    withdrawn: list[Event] = field(default_factory=list)

    @property
    def end_state(self) -> PolicyState | None:
        """How it ended; None while it is open."""
        if self.end is None:
            return None
        return PolicyState.SETTLED if self.end.HasField("policy_settled") else PolicyState.EXPIRED

    def payout_counted(self, txid: str) -> int:
        """What the settlement by this transaction paid, also where it was withdrawn; else by the one that stands."""
        settled = [event for event in (self.end, *self.withdrawn) if event and event.HasField("policy_settled")]
        by_txid = {event.txid: event.policy_settled.payout.base_units for event in settled}
        standing = self.end.policy_settled.payout.base_units if self.end is not None else 0
        return by_txid.get(txid, standing)


class FinalEvents:
    """Reads the stream once, and on where the projector has gone on meanwhile."""

    def __init__(self, gateway: pb_grpc.ChainGatewayServiceAsyncStub, policy_ids: Iterable[str]) -> None:
        self._gateway = gateway
        self._words = {resource_name(COLLECTION, policy_id): ChainWord() for policy_id in policy_ids}
        self._cursor = ""
        self._reached = (-1, -1)

    def of(self, policy_id: str) -> ChainWord:
        """What was read of a policy."""
        return self._words[resource_name(COLLECTION, policy_id)]

    def created(self) -> Collection[str]:
        """Names of the policies that final events have created."""
        return [name for name, word in self._words.items() if word.created is not None]

    async def follow(self, projection: Projection) -> None:
        """Reads until nothing is missing that was final when the projector was here; Unavailable if that ends early."""
        if self._has_reached(projection):
            return
        request = pb.WatchEventsRequest(cursor=self._cursor, finality=pb.EVENT_FINALITY_FINAL)
        call = self._gateway.WatchEvents(request)
        try:
            with remote_errors():
                async for answer in call:
                    self._take(answer)
                    if self._has_reached(projection):
                        return
        finally:
            call.cancel()
        raise Unavailable("EVENTS_ENDED", "the gateway ended the stream of events")

    def _has_reached(self, projection: Projection) -> bool:
        # The tip, too: a projector amid an answer of many pages has applied what is higher than what was delivered.
        height, tip = self._reached
        return height >= projection.delivered_burn_height and tip >= projection.tip_burn_height

    def _take(self, answer: pb.WatchEventsResponse) -> None:
        for event in answer.events:
            self._take_event(event)
        self._cursor = answer.cursor
        # Zero while more follow at once.
        if answer.delivered_burn_height:
            self._reached = (answer.delivered_burn_height, answer.tip.burn_height)

    def _take_event(self, event: Event) -> None:
        match event.WhichOneof("payload"):
            case "policy_created":
                name, place = event.policy_created.terms.policy, "created"
            case "policy_settled":
                name, place = event.policy_settled.policy, "end"
            case "policy_expired":
                name, place = event.policy_expired.policy, "end"
            case _:
                return
        word = self._words.get(name)
        if word is None:
            return
        standing: Event | None = getattr(word, place)
        if not event.withdrawn:
            setattr(word, place, event)
        elif standing is not None and standing.txid == event.txid:
            setattr(word, place, None)
        if event.withdrawn:
            word.withdrawn.append(event)
