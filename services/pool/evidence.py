"""What the chain's events say of deposits and payments whose rows are in doubt."""

from __future__ import annotations

from collections.abc import Collection

from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc

from kernel.rpc.channels import remote_errors
from services.pool import convert
from services.pool.domain import chain_event as chain
from services.pool.domain.position_rows import ChainWord


async def chain_words(
    gateway: gateway_grpc.ChainGatewayServiceAsyncStub, subjects: Collection[str], burn_height: int
) -> dict[str, ChainWord]:
    """By resource name, what events that were final up to `burn_height` say of these deposits and withdrawals.

    The stream is read from its beginning, answer by answer; what a reorganisation took back says nothing. Unavailable
    while the gateway does not answer.
    """
    wanted = {_named_by_event(subject): subject for subject in subjects}
    told: dict[str, ChainWord] = {}
    call = gateway.WatchEvents(gateway_pb2.WatchEventsRequest(finality=gateway_pb2.EVENT_FINALITY_FINAL))
    try:
        with remote_errors():
            async for answer in call:
                for event in answer.events:
                    subject = wanted.get(_subject(event))
                    if subject is not None and event.burn_height <= burn_height:
                        _note(event, subject, told)
                if answer.delivered_burn_height >= burn_height:
                    break
    finally:
        call.cancel()
    return told


def _note(event: chain_event_pb2.ChainEvent, subject: str, told: dict[str, ChainWord]) -> None:
    payload = convert.chain_event(event).payload
    if event.withdrawn:
        told.pop(subject, None)
    elif isinstance(payload, chain.Deposited | chain.VoucherPaid):
        told[subject] = ChainWord(payload.provider, int(payload.token), payload.amount)


def _subject(event: chain_event_pb2.ChainEvent) -> str:
    match event.WhichOneof("payload"):
        case "deposited":
            return f"deposits/{event.txid}-{event.event_index}"
        case "withdrawal":
            return event.withdrawal.withdrawal
    return ""


def _named_by_event(subject: str) -> str:
    """As an event names it: `deposits/{txid}-{event index}`, also of one that came back as `...-{occurrence}`."""
    collection, _, identifier = subject.partition("/")
    return f"{collection}/{'-'.join(identifier.split('-')[:2])}"
