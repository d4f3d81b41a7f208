"""Overrides between protobuf and domain."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from bithedge.oracle.v1 import oracle_service_pb2 as pb

from kernel.errors import InvalidArgument
from kernel.ids import is_id, new_id, parse_resource_name, resource_name
from services.oracle.convert import feed_message, feed_of, timestamp
from services.oracle.domain.override import Act, OverrideState, PriceOverride
from services.oracle.domain.prices import Feed

_COLLECTION: Final = "priceOverrides"
_STATES: Final = {
    OverrideState.PROPOSED: pb.PRICE_OVERRIDE_STATE_PROPOSED,
    OverrideState.APPROVED: pb.PRICE_OVERRIDE_STATE_APPROVED,
    OverrideState.CANCELLED: pb.PRICE_OVERRIDE_STATE_CANCELLED,
    OverrideState.EXPIRED: pb.PRICE_OVERRIDE_STATE_EXPIRED,
}


def proposed_override(request: pb.CreatePriceOverrideRequest, act: Act) -> PriceOverride:
    """A new override as it was asked for, not checked yet; InvalidArgument for no feed, or no end."""
    feed = feed_of(request.feed)
    if not request.HasField("expire_time"):
        raise InvalidArgument.of("expire_time", "is required")
    try:
        end = request.expire_time.ToDatetime(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument.of("expire_time", "is no time") from error
    return PriceOverride(new_id(), feed, request.low_price_usd_e8, request.high_price_usd_e8, end, act)


def override_id(name: str) -> str:
    """The id in a name; InvalidArgument if it is none."""
    return parse_resource_name(_COLLECTION, name)


def override_message(one: PriceOverride, now: dt.datetime) -> pb.PriceOverride:
    """An override as the API shows it at market time `now`."""
    message = pb.PriceOverride(
        name=resource_name(_COLLECTION, one.id),
        feed=feed_message(one.feed),
        low_price_usd_e8=one.low_usd_e8,
        high_price_usd_e8=one.high_usd_e8,
        expire_time=timestamp(one.end),
        state=_STATES[one.state(now)],
        reason=one.proposed.reason,
        proposer_principal=one.proposed.principal,
        create_time=timestamp(one.proposed.time),
    )
    if one.approved is not None:
        message.approver_principal = one.approved.principal
        message.approve_time.FromDatetime(one.approved.time)
    if one.cancelled is not None:
        message.canceller_principal, message.cancel_reason = one.cancelled.principal, one.cancelled.reason
        message.cancel_time.FromDatetime(one.cancelled.time)
    return message


def listed_feed(number: int) -> Feed | None:
    """The feed of a list, None for every one; InvalidArgument for an unknown one."""
    return feed_of(number) if number else None


def page_start(token: str) -> str | None:
    """The id below which a page starts; None for the first page. InvalidArgument for a token of no list."""
    if token and not is_id(token):
        raise InvalidArgument.of("page_token", "is not from an earlier response to the same list", "INVALID_PAGE_TOKEN")
    return token or None


def list_response(found: Sequence[PriceOverride], size: int, now: dt.datetime) -> pb.ListPriceOverridesResponse:
    """A page: `found` holds one more than the page if there is a next one."""
    page = found[:size]
    following = page[-1].id if len(found) > size else ""
    messages = [override_message(one, now) for one in page]
    return pb.ListPriceOverridesResponse(price_overrides=messages, next_page_token=following)
