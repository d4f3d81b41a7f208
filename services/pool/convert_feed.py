"""Between lines of the feed and notifications."""

from __future__ import annotations

from bithedge.pool.v1 import notification_service_pb2 as pb
from bithedge.type.v1 import money_pb2

from kernel.ids import resource_name
from services.pool import convert
from services.pool.store_feed import FeedLine


def notification(line: FeedLine) -> pb.Notification:
    """A line as providers read it."""
    message = pb.Notification(
        name=resource_name("notifications", str(line.number)),
        kind=pb.NotificationKind.Value(f"NOTIFICATION_KIND_{line.kind}"),
        tier=money_pb2.Tier.ValueType(line.tier),
        shares=line.shares,
        create_time=convert.timestamp(line.time),
        burn_height=line.burn_height,
        txid=line.txid,
        reason=line.reason,
    )
    if line.deposit_id is not None:
        message.deposit = resource_name("deposits", line.deposit_id)
    if line.withdrawal_id is not None:
        message.withdrawal = resource_name("withdrawals", line.withdrawal_id)
    if line.part_of:
        message.part_of = resource_name("withdrawals", line.part_of)
    if line.amount:
        message.amount.CopyFrom(convert.amount_message(line.token, line.amount))
    return message
