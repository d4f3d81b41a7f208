"""Records that were read before, for as long as their version is the stored one: one small query instead of three."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from bithedge.policy.v1 import policy_pb2

from kernel.database import Database
from services.policy import convert, store
from services.policy.store_queries import VERSION, Record, read_record

_REMEMBERED: Final = 10_000


@dataclass(frozen=True)
class KnownRecord:
    """A record, and its messages for those who see the transaction to sign and for those who do not."""

    record: Record
    _messages: dict[bool, policy_pb2.Policy] = field(default_factory=dict)

    def lasting_message(self, *, for_signing: bool) -> policy_pb2.Policy:
        """As `convert.lasting_message`; a copy of its own for each caller."""
        if for_signing not in self._messages:
            self._messages[for_signing] = convert.lasting_message(self.record, for_signing=for_signing)
        message = policy_pb2.Policy()
        message.CopyFrom(self._messages[for_signing])
        return message


class KnownRecords:
    """The most recently read records of one process. Whatever is answered is what the database holds now."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, KnownRecord] = OrderedDict()

    async def read(self, policy_id: str) -> KnownRecord | None:
        """The record of an id; None if there is none."""
        version = await self._database.value(VERSION, policy_id)
        if version is None:
            return None
        known = self._known.get(policy_id)
        if known is not None and known.record.policy.version == version:
            self._known.move_to_end(policy_id)
            return known
        async with self._database.reading() as session:
            known = KnownRecord(await read_record(session, await store.get(session, policy_id)))
        self._known[policy_id] = known
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known
