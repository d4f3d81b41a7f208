"""Streams of changes: one reader of the database per process finds what changed and hands it to every stream."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bithedge.policy.v1 import policy_pb2

from kernel.database import Database
from kernel.feed_cursor import read_number
from services.policy import store
from services.policy.domain.policy import OnchainState, Policy, is_ended
from services.policy.domain.transitions import PolicyState
from services.policy.metrics import WATCHERS
from services.policy.store_feed import LINES, list_lines
from services.policy.store_queries import Record, find_policies, list_versions, read_record, read_records
from services.policy.tables import CHANGES_CHANNEL

_POLL_SECONDS: Final = 1.0
# Changes close together are delivered as one look at the database.
_GATHER_SECONDS: Final = 0.01
# A reader that has not taken a change for so long is cut off.
_SLOW_READER_SECONDS: Final = 30.0
_LINES: Final = 1_000
_RECORDS: Final = 200


@dataclass(eq=False)
class Update:
    """A policy as it is now, for all streams alike. `number` is its latest line of the feed, zero for none.

    `messages` has what was made of it already, so that a thousand streams convert it once.
    """

    record: Record
    number: int = 0
    messages: dict[bool, policy_pb2.Policy] = field(default_factory=dict)
    is_progress: bool = False


@dataclass(eq=False)
class Watcher:
    """One open stream: what it was offered and has not taken, the newest of each policy."""

    task: asyncio.Task[Any] | None
    pending: dict[str, Update] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    offered: dict[str, int] = field(default_factory=dict)
    unfinished: dict[str, Record] = field(default_factory=dict)
    waiting_since: float = 0.0

    def offer(self, update: Update) -> None:
        """Leaves an update to be taken; an older one of the same policy is replaced."""
        policy = update.record.policy
        self.note(update.record)
        if not self.pending:
            self.waiting_since = time.monotonic()
        self.pending.pop(policy.id, None)
        self.pending[policy.id] = update
        self.changed.set()

    def note(self, record: Record) -> None:
        """Remembers a record that the stream has or is offered."""
        policy = record.policy
        self.offered[policy.id] = max(policy.version, self.offered.get(policy.id, 0))
        if is_under_way(policy):
            self.unfinished[policy.id] = record
        else:
            self.unfinished.pop(policy.id, None)

    async def take(self) -> list[Update]:
        """What was offered, at least one, in the order of the feed."""
        await self.changed.wait()
        self.changed.clear()
        taken, self.pending = list(self.pending.values()), {}
        return taken

    def show_life(self) -> None:
        """The stream has just taken something, so that it is not a slow one."""
        self.waiting_since = time.monotonic()


def is_under_way(policy: Policy) -> bool:
    """True while the chain has said what is not final yet: then confirmations are of interest."""
    if policy.onchain_state is OnchainState.ACTIVE:
        return policy.state is PolicyState.PENDING_CREATION
    return policy.onchain_state is not OnchainState.NONE and not is_ended(policy)


class Watchers:
    """The open streams of this process. `burn_height` is the tip's, zero while it is not known."""

    def __init__(self, database: Database, burn_height: Callable[[], int]) -> None:
        self._database = database
        self._burn_height = burn_height
        self._height = 0
        self._by_policy: dict[str, set[Watcher]] = defaultdict(set)
        self._by_holder: dict[str, set[Watcher]] = defaultdict(set)
        self._position = 0
        self._started = asyncio.Event()

    async def run(self) -> None:
        """Looks for changes at each notification and every second, until cancelled."""
        notifications = await self._database.notifications(CHANGES_CHANNEL)
        try:
            async with self._database.reading() as session:
                self._position = await LINES.last_number(session)
            self._started.set()
            while True:
                await notifications.wait(_POLL_SECONDS)
                await self.look()
                await asyncio.sleep(_GATHER_SECONDS)
        finally:
            await notifications.close()

    async def position(self) -> int:
        """The number of the feed from which on every line is offered to the streams of its holder."""
        await self._started.wait()
        return self._position

    async def look(self) -> None:
        """Finds what changed, offers it, and cuts off who does not take it."""
        touched = await self._touched()
        changed = await self._changed() | set(touched)
        for update in await self._updates(changed, touched):
            self._offer(update)
        self._offer_progress()
        now = time.monotonic()
        for watcher in self._all():
            if watcher.pending and watcher.task and now - watcher.waiting_since > _SLOW_READER_SECONDS:
                watcher.task.cancel()

    async def _changed(self) -> set[str]:
        if not self._by_policy:
            return set()
        async with self._database.reading() as session:
            versions = await list_versions(session, sorted(self._by_policy))
        return {
            policy_id
            for policy_id, version in versions.items()
            if any(version > watcher.offered.get(policy_id, 0) for watcher in self._by_policy.get(policy_id, ()))
        }

    async def _touched(self) -> dict[str, int]:
        """By policy, the latest new line of the feed whose holder is watched."""
        touched: dict[str, int] = {}
        async with self._database.reading() as session:
            while lines := await list_lines(session, self._position, _LINES):
                touched |= {line.policy_id: line.number for line in lines if line.principal in self._by_holder}
                self._position = lines[-1].number
        return touched

    async def _updates(self, policy_ids: Iterable[str], numbers: Mapping[str, int]) -> list[Update]:
        ids, found = sorted(policy_ids), []
        async with self._database.reading() as session:
            for start in range(0, len(ids), _RECORDS):
                policies = await find_policies(session, ids[start : start + _RECORDS])
                found += await read_records(session, policies)
        updates = [Update(record, numbers.get(record.policy.id, 0)) for record in found]
        return sorted(updates, key=lambda update: update.number)

    def _offer(self, update: Update) -> None:
        policy = update.record.policy
        for watcher in self._by_policy.get(policy.id, ()):
            if policy.version > watcher.offered.get(policy.id, 0):
                watcher.offer(update)
        if update.number:
            for watcher in self._by_holder.get(policy.holder_principal, ()):
                watcher.offer(update)

    def _offer_progress(self) -> None:
        """A new burn block is a confirmation more for what is under way."""
        height, self._height = self._height, self._burn_height()
        if height == self._height:
            return
        updates: dict[tuple[str, int], Update] = {}
        for watcher in self._all():
            for policy_id, record in list(watcher.unfinished.items()):
                key = (policy_id, record.policy.version)
                update = updates.setdefault(key, Update(record, is_progress=True))
                if policy_id not in watcher.pending:
                    watcher.offer(update)

    def _all(self) -> list[Watcher]:
        return [one for group in (self._by_policy, self._by_holder) for watchers in group.values() for one in watchers]

    async def changes(self, policy_id: str, version: int) -> AsyncIterator[Update]:
        """The policy whenever it is newer than `version`, then than what was last yielded, until cancelled.

        Several changes that a reader has not taken arrive as one, with all of them in the history.
        """
        with self._watching(self._by_policy, policy_id) as watcher:
            async with self._database.reading() as session:
                record = await read_record(session, await store.get(session, policy_id))
            watcher.note(record)
            if record.policy.version > version:
                version = record.policy.version
                yield Update(record)
            while True:
                for update in await watcher.take():
                    if update.record.policy.version > version or update.is_progress:
                        version = update.record.policy.version
                        yield update
                        watcher.show_life()

    @contextlib.contextmanager
    def watching_holder(self, principal: str) -> Iterator[Watcher]:
        """A stream of everything that is written in a holder's feed from `position` on."""
        with self._watching(self._by_holder, principal) as watcher:
            yield watcher

    @contextlib.contextmanager
    def _watching(self, group: dict[str, set[Watcher]], key: str) -> Iterator[Watcher]:
        watcher = Watcher(asyncio.current_task())
        group[key].add(watcher)
        WATCHERS.inc()
        try:
            yield watcher
        finally:
            WATCHERS.dec()
            group[key].discard(watcher)
            if not group[key]:
                del group[key]


def resume_version(token: str) -> int:
    """The version that a reader has; zero for an empty token; InvalidArgument for anything else."""
    return read_number(token, "resume_token") if token else 0
