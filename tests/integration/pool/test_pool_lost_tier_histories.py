"""Random histories in which a tier loses everything again and again: nothing waits for ever, and all books agree.

Deposits of any size come, are asked for, taken back at any moment, and come again where their voucher is not used.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import transaction_pb2

from kernel.errors import FailedPrecondition, Unavailable
from kernel.rpc.channels import remote_errors
from tests.integration.pool.pool_service import E8, OPERATOR, WORKFLOWS, RunningPool, collateral_of
from tests.integration.pool.withdrawal_words import paid, request
from tests.integration.pool.worthless_tiers import crashed, nothing_differs

_STEPS = 90
_PEOPLE = ("SP-ALICE", "SP-BOB")


@dataclass
class _History:
    """One pool; `cash` is what its vault has by the events of the history, `open` its policy."""

    pool: RunningPool
    chance: random.Random
    open: transaction_pb2.QuoteTerms | None = None
    cash: int = 0
    count: int = 0
    given_back: int = 0

    async def step(self) -> None:
        """Somebody does something, a second later, perhaps without a good price since."""
        good = self.chance.random() < 0.6
        self.pool.oracle.status = oracle_pb2.PRICE_STATUS_OK if good else oracle_pb2.PRICE_STATUS_DEGRADED
        await self.pool.gateway.pass_seconds(1)
        await self.pool.told_the_time()
        acts: list[Callable[[], Coroutine[Any, Any, None]]] = [
            *[self.deposit] * 4,
            *[self.ask] * 4,
            *[self.take_back] * 2,
            *[self.vouchers_end] * 2,
            *[self.policy] * 3,
            *[self.market] * 2,
        ]
        await self.chance.choice(acts)()
        assert (await self.pool.accounts()).get("vault_cash/STX", 0) == self.cash

    async def deposit(self) -> None:
        """Of dust, or of much."""
        amount = self.chance.choice([self.chance.randint(1, 9), 10**6, 10**12])
        self.cash += amount
        await self.pool.final(self.pool.deposited(self.chance.choice(_PEOPLE), amount))

    async def waiting(self) -> list[str]:
        """Every deposit without a price."""
        found = await self.pool.scalar(
            "SELECT array_agg(id ORDER BY create_time, id) FROM pool.deposit WHERE state = 'FINAL'"
        )
        return [f"deposits/{identifier}" for identifier in found or ()]

    async def ask(self) -> None:
        """The workflows of all that wait."""
        for name in await self.waiting():
            with contextlib.suppress(Unavailable), remote_errors():
                await self.pool.stub.PriceDeposit(pb.PriceDepositRequest(name=name), metadata=WORKFLOWS)

    async def take_back(self) -> None:
        """The owner of one that waits, if nobody knows its price."""
        for name in (await self.waiting())[:1]:
            await self.give_back(name)

    async def give_back(self, name: str) -> None:
        """One deposit."""
        self.count += 1
        with contextlib.suppress(FailedPrecondition), remote_errors():
            asked = pb.CancelDepositRequest(request_id=f"c{self.count}", name=name)
            back = await self.pool.stub.CancelDeposit(asked, metadata=OPERATOR)
            assert back.withdrawal.amount_base_units == back.deposit.amount.base_units
            self.given_back += 1

    async def leave(self) -> None:
        """Everybody, as far as capital is free."""
        for who in _PEOPLE:
            self.count += 1
            held = await self.pool.scalar(f"SELECT shares FROM pool.share_balance WHERE provider = '{who}'")
            with contextlib.suppress(Unavailable, FailedPrecondition), remote_errors():
                asked = await request(self.pool, int(held or 0) or 1, f"w{self.count}", who)
                await self.pool.gateway.pass_seconds(1)
                await self.pool.stub.PriceWithdrawal(pb.PriceWithdrawalRequest(name=asked.name), metadata=WORKFLOWS)
            await self.pool.told_the_time()
            await self.give_up()

    async def give_up(self) -> None:
        """What still waits to leave."""
        query = "SELECT array_agg(id) FROM pool.withdrawal WHERE state = 'REQUESTED'"
        for identifier in await self.pool.scalar(query) or ():
            self.count += 1
            asked = pb.CancelWithdrawalRequest(request_id=f"g{self.count}", name=f"withdrawals/{identifier}")
            with contextlib.suppress(Unavailable, FailedPrecondition), remote_errors():
                await self.pool.stub.CancelWithdrawal(asked, metadata=OPERATOR)

    async def vouchers_end(self) -> None:
        """All are used, or all lapse."""
        if self.chance.random() < 0.5:
            await self.pool.final(blocks=37)
            return
        await self.use_vouchers()

    async def use_vouchers(self) -> None:
        """Each is paid what it says."""
        query = "SELECT array_agg(id) FROM pool.withdrawal WHERE state IN ('PRICED', 'READY')"
        for identifier in await self.pool.scalar(query) or ():
            asked = pb.GetWithdrawalRequest(name=f"withdrawals/{identifier}")
            row = (await self.pool.stub.GetWithdrawal(asked, metadata=WORKFLOWS)).withdrawal
            self.cash -= row.amount_base_units
            await self.pool.final(paid(self.pool, row, row.amount_base_units))

    async def policy(self) -> None:
        """One is written on most of the tier, and perhaps everybody leaves it with the rest; or the open one takes
        everything, nearly everything, or nothing."""
        self.count += 1
        if self.open is not None:
            await self.end_policy(self.chance.choice([0, 0, 3]) if self.chance.random() < 0.8 else None)
            return
        amount_sats = max((await self.pool.capital()).available_base_units // 150, 1)
        terms = self.pool.terms(amount_sats, premium_base_units=0, fee_base_units=0)
        if (await self.pool.reserve(terms)).state == pb.RESERVATION_STATE_HELD:
            await self.pool.final(self.pool.created(terms, self.count))
            self.open = terms
            if self.chance.random() < 0.7:
                self.calm()
                await self.leave()
                await self.market()

    async def end_policy(self, left: int | None) -> None:
        """Settled but for so many base units, or expired."""
        terms, self.open = self.open, None
        if terms is None:
            return
        payout = 0 if left is None else max(collateral_of(terms) - left, 0)
        self.cash -= payout
        ended = self.pool.settled(terms, self.count, payout) if payout else self.pool.expired(terms, self.count)
        await self.pool.final(ended)

    async def market(self) -> None:
        """Falls to where policies take all they can, or rises to where they take nothing."""
        if self.chance.random() < 0.4:
            self.calm()
        else:
            crashed(self.pool)

    def calm(self) -> None:
        """Good prices, at which policies are worth nothing."""
        self.pool.oracle.status = oracle_pb2.PRICE_STATUS_OK
        self.pool.oracle.btc_e8, self.pool.oracle.stx_e8 = 1_000_000 * E8, 2 * E8


async def test_nothing_waits_for_ever_in_a_tier_that_is_lost_again_and_again(pool: RunningPool) -> None:
    """Cash follows the chain at every step; at the end all joins or goes back, and every voucher is paid in full."""
    history = _History(pool, random.Random(20_270))
    for number in range(_STEPS):
        await history.step()
        if number % 15 == 14:
            await nothing_differs(pool)
    await history.end_policy(None)
    history.calm()
    for _ in range(3):
        await pool.gateway.pass_seconds(1)
        await pool.told_the_time()
        await history.ask()
    for name in await history.waiting():
        await history.give_back(name)
    assert await history.waiting() == []
    await history.use_vouchers()
    accounts = await pool.accounts()
    assert (accounts["deposits_unpriced/BALANCED/STX"], accounts["withdrawals_payable/BALANCED/STX"]) == (0, 0)
    assert accounts["vault_cash/STX"] == history.cash == -accounts["free_capital/BALANCED/STX"]
    entries = "SELECT count(DISTINCT subject) FROM pool.journal_entry WHERE kind = 'SHARES_CONSOLIDATED'"
    assert await pool.scalar(entries) > 0 < history.given_back
    await nothing_differs(pool)
