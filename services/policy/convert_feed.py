"""Between lines of the feed and notifications."""

from __future__ import annotations

from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.ids import resource_name
from services.policy import convert
from services.policy.domain.policy import COLLECTION
from services.policy.store_feed import FeedLine


def notification(line: FeedLine) -> pb.Notification:
    """A line that tells something."""
    message = pb.Notification(
        name=resource_name("notifications", str(line.number)),
        kind=pb.NotificationKind.Value(f"NOTIFICATION_KIND_{line.kind}"),
        policy=resource_name(COLLECTION, line.policy_id),
        create_time=convert.timestamp(line.time),
        burn_height=line.burn_height,
        txid=line.txid,
    )
    if line.amount:
        message.amount.CopyFrom(convert.amount(line.token, line.amount))
    return message
