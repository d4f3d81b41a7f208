"""Random histories of the queue for capital against a model of its turns: nobody is priced by a round that was known.

Whoever waits is asked for when it pleases the history, or not for a long time, as when workers are down; capital is
locked and freed in between, and what waits is given up at any moment.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import transaction_pb2

from kernel.errors import FailedPrecondition, Unavailable
from kernel.rpc.channels import remote_errors
from tests.integration.pool.pool_service import OPERATOR, WORKFLOWS, RunningPool
from tests.integration.pool.withdrawal_words import get, request

_CAPITAL = 1_000_000_000
_STEPS = 150
_MOST_WAITING = 4


@dataclass
class _Waiting:
    """`turn` is when it became first, or when too little was last free; `always_free` while nothing is locked."""

    withdrawal: pb.Withdrawal
    turn: dt.datetime | None = None
    always_free: bool = True


@dataclass
class _History:
    """One pool, what waits in it by the model, and the OK rounds by number."""

    pool: RunningPool
    chance: random.Random
    waiting: list[_Waiting] = field(default_factory=list)
    rounds: dict[int, dt.datetime] = field(default_factory=dict)
    policy: transaction_pb2.QuoteTerms | None = None
    outage: bool = False
    count: int = 0
    priced: int = 0
    exactly: int = 0

    async def step(self) -> None:
        """Time passes, perhaps with a good round, and somebody does something."""
        await self.pool.gateway.pass_seconds(self.chance.randint(1, 90))
        good = self.chance.random() < 0.6
        oracle = self.pool.oracle
        oracle.status = oracle_pb2.PRICE_STATUS_OK if good else oracle_pb2.PRICE_STATUS_DEGRADED
        oracle.keep_rounds()
        if good:
            self.rounds[self.pool.gateway.late] = self.pool.gateway.now()
        await self.pool.told_the_time()
        self.outage ^= self.chance.random() < 0.1
        acts: list[Callable[[], Coroutine[Any, Any, None]]] = [*[self.ask] * 4, self.give_up, self.capital_moves]
        await self.chance.choice([*acts, self.somebody_asks_to_leave, self.somebody_asks_to_leave])()
        await self.follow()

    async def somebody_asks_to_leave(self) -> None:
        """With little or with much."""
        if len(self.waiting) == _MOST_WAITING:
            return
        self.count += 1
        who, shares = self.chance.choice(["SP-ALICE", "SP-BOB"]), self.chance.choice([1_000, _CAPITAL // 3])
        with contextlib.suppress(FailedPrecondition), remote_errors():
            self.waiting.append(_Waiting(await request(self.pool, shares, f"w{self.count}", who)))
            return
        self.pool.oracle.status = oracle_pb2.PRICE_STATUS_OK
        await self.pool.invest(who, _CAPITAL)

    async def ask(self) -> None:
        """A workflow, mostly of the first that waits; for long stretches none."""
        if self.waiting and not self.outage:
            one = self.waiting[0] if self.chance.random() < 0.7 else self.chance.choice(self.waiting)
            name = one.withdrawal.name
            await self._call(self.pool.stub.PriceWithdrawal(pb.PriceWithdrawalRequest(name=name), metadata=WORKFLOWS))

    async def give_up(self) -> None:
        """An owner, one that waits."""
        if self.waiting:
            self.count += 1
            name = self.chance.choice(self.waiting).withdrawal.name
            asked = pb.CancelWithdrawalRequest(request_id=f"c{self.count}", name=name)
            await self._call(self.pool.stub.CancelWithdrawal(asked, metadata=OPERATOR))

    async def _call(self, call: Any) -> None:
        with contextlib.suppress(Unavailable, FailedPrecondition), remote_errors():
            await call

    async def capital_moves(self) -> None:
        """A policy is written that locks most of what may be, or the one that is open ends."""
        self.count += 1
        if self.policy is not None:
            await self.pool.final(self.pool.expired(self.policy, self.count - 1))
            self.policy = None
            return
        amount_sats = max((await self.pool.capital()).available_base_units // 150, 1)
        terms = self.pool.terms(amount_sats, premium_base_units=0, fee_base_units=0)
        if (await self.pool.reserve(terms)).state == pb.RESERVATION_STATE_HELD:
            await self.pool.final(self.pool.created(terms, self.count))
            self.policy = terms

    async def follow(self) -> None:
        """Compares what has left the queue, in its order, and gives the next its turn."""
        await self.pool.told_the_time()
        for one in list(self.waiting):
            now = await get(self.pool, one.withdrawal)
            if now.state == pb.WITHDRAWAL_STATE_PRICED:
                await self._check(one)
            if now.state == pb.WITHDRAWAL_STATE_CANCELLED and one.turn and one.always_free:
                assert one.turn >= max(self.rounds.values())
            if now.state != pb.WITHDRAWAL_STATE_REQUESTED:
                self.waiting.remove(one)
        if self.waiting:
            first = self.waiting[0]
            first.always_free &= self.policy is None
            if first.turn is None or await self._is_short_for(first.withdrawal):
                first.turn = self.pool.gateway.now()

    async def _is_short_for(self, withdrawal: pb.Withdrawal) -> bool:
        """Whether what is left of it is worth more than is free; a policy at the money is worth little."""
        asked, capital = await get(self.pool, withdrawal), await self.pool.capital()
        free = capital.total_base_units - capital.locked_base_units - capital.reserved_base_units
        assets = capital.total_base_units - capital.locked_base_units // 4
        return (asked.shares - asked.filled_shares) * assets > capital.shares * free

    async def _check(self, one: _Waiting) -> None:
        identifier = one.withdrawal.name.rpartition("/")[2]
        number = await self.pool.scalar(f"SELECT btc_round FROM pool.withdrawal WHERE id = '{identifier}'")
        turn = one.turn or one.withdrawal.create_time.ToDatetime(dt.UTC)
        assert self.rounds[number] > turn
        self.priced += 1
        if one.always_free:
            assert number == min(later for later, time in self.rounds.items() if time > turn)
            self.exactly += 1


async def test_nobody_in_the_queue_is_priced_by_a_round_that_was_known_at_their_turn(pool: RunningPool) -> None:
    """Whatever is asked, given up, locked and freed before; and where capital was free, by the first round after."""
    history = _History(pool, random.Random(20_260))
    for who in ("SP-ALICE", "SP-BOB"):
        await pool.invest(who, _CAPITAL)
    for _ in range(_STEPS):
        await history.step()
    assert history.priced > history.exactly > 3
