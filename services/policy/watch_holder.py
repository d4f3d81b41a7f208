"""WatchPolicies: all of a holder's policies, then every change of any of them, and how such a stream is resumed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from kernel.database import Database
from kernel.errors import InvalidArgument
from kernel.feed_cursor import read_number
from kernel.ids import is_id
from services.policy.domain.errors import Reason
from services.policy.store_feed import LINES, list_principal_lines
from services.policy.store_queries import Order, PolicyFilter, find_policies, list_policies, read_records
from services.policy.watch import Update, Watcher, Watchers

_PAGE: Final = 200


@dataclass(frozen=True)
class HolderToken:
    """Where a stream stands: the line of the feed that it has read up to, and in the snapshot the last policy given.

    `after_id` is None once the snapshot is complete.
    """

    number: int
    after_id: str | None = None

    def __str__(self) -> str:
        return str(self.number) if self.after_id is None else f"{self.number}.{self.after_id}"


@dataclass(frozen=True)
class HolderUpdate:
    """A policy, or None when the snapshot is complete, and from where a reader who has it goes on."""

    update: Update | None
    token: HolderToken


def parse_token(text: str) -> HolderToken | None:
    """The token of a request, None for an empty one; InvalidArgument for anything that we did not make."""
    if not text:
        return None
    number, dot, after_id = text.partition(".")
    if dot and after_id and not is_id(after_id):
        raise InvalidArgument.of("resume_token", "not a token of ours", Reason.INVALID_RESUME_TOKEN)
    return HolderToken(read_number(number, "resume_token"), after_id if dot else None)


class HolderWatch:
    """One stream. Its watcher is open before anything is read, so that nothing falls between the two."""

    def __init__(self, database: Database, watchers: Watchers, principal: str) -> None:
        self._database = database
        self._watchers = watchers
        self._principal = principal
        self._seen: dict[str, int] = {}

    async def updates(self, asked: HolderToken | None) -> AsyncIterator[HolderUpdate]:
        """From the token on, or from a snapshot where there is none or it is too old; until cancelled."""
        with self._watchers.watching_holder(self._principal) as watcher:
            token = await self._start(asked)
            async for update in self._past(token):
                watcher.show_life()
                yield self._noted(watcher, update)
                token = update.token
            while True:
                for one in await watcher.take():
                    number = max(one.number, token.number)
                    token = HolderToken(number)
                    if one.is_progress or one.record.policy.version > self._seen.get(one.record.policy.id, 0):
                        yield self._noted(watcher, HolderUpdate(one, token))
                        watcher.show_life()

    async def _start(self, asked: HolderToken | None) -> HolderToken:
        position = await self._watchers.position()
        async with self._database.reading() as session:
            # Another replica may have given a token beyond what this process has read; the future nobody has.
            last = max(position, await LINES.last_number(session))
            if asked is None or not await LINES.horizon(session) <= asked.number <= last:
                return HolderToken(position, "")
        return asked

    async def _past(self, token: HolderToken) -> AsyncIterator[HolderUpdate]:
        """The rest of the snapshot, then what has changed since it was begun."""
        if token.after_id is not None:
            async for update in self._snapshot(token):
                yield update
            token = HolderToken(token.number)
            yield HolderUpdate(None, token)
        while True:
            async with self._database.reading() as session:
                lines = await list_principal_lines(session, self._principal, token.number, _PAGE, notices=False)
                numbers = {line.policy_id: line.number for line in lines}
                records = await read_records(session, await find_policies(session, list(numbers)))
            updates = [Update(record, numbers[record.policy.id]) for record in records]
            for one in sorted(updates, key=lambda one: one.number):
                yield HolderUpdate(one, HolderToken(one.number))
            if not lines:
                return
            token = HolderToken(lines[-1].number)

    async def _snapshot(self, token: HolderToken) -> AsyncIterator[HolderUpdate]:
        wanted, after = PolicyFilter(self._principal, order=Order.OLDEST_FIRST), token.after_id
        while True:
            async with self._database.reading() as session:
                policies = await list_policies(session, wanted, [after] if after else None, _PAGE)
                records = await read_records(session, policies)
            for record in records:
                after = record.policy.id
                yield HolderUpdate(Update(record), HolderToken(token.number, after))
            if len(records) < _PAGE:
                return

    def _noted(self, watcher: Watcher, update: HolderUpdate) -> HolderUpdate:
        if update.update is not None:
            policy = update.update.record.policy
            self._seen[policy.id] = max(policy.version, self._seen.get(policy.id, 0))
            watcher.note(update.update.record)
        return update
