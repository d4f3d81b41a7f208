"""The main job, played: deposit, create, activate, settle, expire, withdraw, reconcile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as policy_service
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.type.v1 import money_pb2

from deploy.demo.market import DemoError, Market
from deploy.demo.people import Person
from deploy.demo.plan import PROVIDERS, PlannedPolicy, Provider, deposit_call
from deploy.devnet.driver import DevnetClient
from kernel.rpc.channels import remote_errors

_USD_E8: Final = 100_000_000
_TOLERATED_RISE_BPS: Final = 500
# A workflow asks again for what is not there yet once a second at the most.
_PAUSE_SECONDS: Final = 1.0


@dataclass
class Played:
    """A planned policy and what became of it."""

    plan: PlannedPolicy
    holder: Person
    name: str = ""
    activated: bool = False

    async def policy(self) -> policy_pb2.Policy:
        """The policy as its holder sees it."""
        with remote_errors():
            answer = await self.holder.services.policy.GetPolicy(policy_service.GetPolicyRequest(name=self.name))
        policy: policy_pb2.Policy = answer.policy
        return policy

    async def state(self) -> str:
        """`ACTIVE`, `SETTLED`, ..."""
        return policy_pb2.PolicyState.Name((await self.policy()).state).removeprefix("POLICY_STATE_")


@dataclass
class Cast:
    """Everybody in the play."""

    operator: Person
    providers: dict[str, Person]
    played: list[Played] = field(default_factory=list)


class Scenario:
    """Plays the plan on a running stack; each step asserts what it did."""

    def __init__(self, cast: Cast, market: Market, devnet: DevnetClient, say: Callable[[str], None]) -> None:
        self._cast = cast
        self._market = market
        self._devnet = devnet
        self._say = say

    async def play(self) -> pool_pb2.Reconciliation:
        """The whole plan; the final reconciliation."""
        await self._market.step()
        await self._deposit()
        await self._create()
        await self._fall()
        await self._expire()
        await self._withdraw()
        return await self._reconcile()

    async def _mined(self, txid: str, what: str) -> None:
        transaction = await self._devnet.wait_for(f"0x{txid}", self._market.patience.seconds)
        if transaction["tx_status"] != "success":
            raise DemoError(f"{what}: {transaction['tx_status']} {transaction['tx_result']['repr']}")

    async def _deposit(self) -> None:
        for planned in PROVIDERS:
            person = self._cast.providers[planned.name]
            for tier, token, amount in planned.deposits:
                prepared = await person.prepare_deposit(deposit_call(tier, token, amount))
                await self._mined(await person.submit_through_us(prepared), f"deposit of {planned.name}")
        await self._market.step_until(self._all_priced, 6, "every deposit has its shares", _PAUSE_SECONDS)
        self._say("two providers hold shares in two tiers, in STX and sBTC")

    async def _all_priced(self) -> bool:
        positions = [await self._positions(provider) for provider in PROVIDERS]
        return all(
            len(held) == len(provider.deposits) and all(one.shares > 0 for one in held)
            for provider, held in zip(PROVIDERS, positions, strict=True)
        )

    async def _positions(self, provider: Provider) -> list[pool_pb2.Position]:
        stub = self._cast.providers[provider.name].services.pool
        with remote_errors():
            return list((await stub.ListPositions(pool_pb2.ListPositionsRequest())).positions)

    async def _create(self) -> None:
        await asyncio.gather(*(self._create_one(played) for played in self._cast.played))
        paid = [played for played in self._cast.played if played.plan.pays_premium]
        await self._market.step_until(lambda: _all_in(paid, "ACTIVE"), 6, "every paid policy is ACTIVE")
        self._say("seven policies are paid and active, one quote is left unpaid")

    async def _create_one(self, played: Played) -> None:
        stub, plan = played.holder.services.policy, played.plan
        with remote_errors():
            quote = (await stub.GetQuote(policy_service.GetQuoteRequest(terms=plan.terms()))).quote
            cost = quote.premium.base_units + quote.fee.base_units
            limit = money_pb2.TokenAmount(token=plan.token, base_units=cost + cost * _TOLERATED_RISE_BPS // 10_000 + 1)
            request = policy_service.CreatePolicyRequest(
                request_id=f"create/{plan.scenario}",
                terms=plan.terms(),
                max_premium=limit,
                public_key=played.holder.public_key,
            )
            played.name = (await stub.CreatePolicy(request)).policy.name
        what = f"the transaction of policy {plan.scenario}"
        prepared = await self._market.eventually(lambda: _prepared(played), what)
        if plan.pays_premium:
            submit = played.holder.submit_through_us if plan.through_us else played.holder.submit_to_node
            await self._mined(await submit(prepared.prepared_transaction), f"creation of policy {plan.scenario}")

    async def _fall(self) -> None:
        waiting = [played for played in self._cast.played if played.plan.activate_below_usd]
        for played in sorted(waiting, key=lambda one: -one.plan.activate_below_usd):
            limit = played.plan.activate_below_usd * _USD_E8
            moment = await self._market.step_until(
                lambda limit=limit: self._below(limit),  # type: ignore[misc]
                60,
                f"the price falls below {played.plan.activate_below_usd}",
            )
            request = policy_service.ActivatePolicyRequest(
                request_id=f"activate/{played.plan.scenario}", name=played.name
            )
            with remote_errors():
                await played.holder.services.policy.ActivatePolicy(request)
            played.activated = True
            self._say(f"policy {played.plan.scenario} is activated at {moment.market_time}")
        await self._market.step_until(
            lambda: _all_in(waiting, "SETTLED"), 12, "every activated policy is SETTLED", _PAUSE_SECONDS
        )

    async def _below(self, limit_usd_e8: int) -> bool:
        return (await self._market.moment()).btc_price_usd_e8 < limit_usd_e8

    async def _expire(self) -> None:
        due = [played for played in self._cast.played if played.plan.scenario in ("c", "d")]
        self._say("waiting for the expiry of what nobody activated")
        await self._market.step_until(lambda: _as_planned(due), 90, "the policies that are due have ended")
        if not await _as_planned(self._cast.played):
            states = {played.plan.scenario: await played.state() for played in self._cast.played}
            raise DemoError(f"not every policy is where the plan has it: {states}")

    async def _withdraw(self) -> None:
        person = self._cast.providers[PROVIDERS[0].name]
        held = next(one for one in await self._positions(PROVIDERS[0]) if one.token == money_pb2.TOKEN_SBTC)
        request = pool_pb2.CreateWithdrawalRequest(
            request_id="withdraw/1",
            tier=held.tier,
            token=held.token,
            shares=held.shares // 2,
            public_key=person.public_key,
        )
        with remote_errors():
            name = (await person.services.pool.CreateWithdrawal(request)).withdrawal.name
        await self._market.step_until(
            lambda: self._withdrawal_in(person, name, pool_pb2.WITHDRAWAL_STATE_READY),
            4,
            "the voucher is ready",
            _PAUSE_SECONDS,
        )
        prepared = (await self._withdrawal(person, name)).prepared_transaction
        await self._mined(await person.submit_through_us(prepared), "withdrawal")
        await self._market.step_until(
            lambda: self._withdrawal_in(person, name, pool_pb2.WITHDRAWAL_STATE_PAID),
            4,
            "the withdrawal is paid",
        )
        self._say("a provider has withdrawn half of a position")

    async def _withdrawal(self, person: Person, name: str) -> pool_pb2.Withdrawal:
        with remote_errors():
            answer = await person.services.pool.GetWithdrawal(pool_pb2.GetWithdrawalRequest(name=name))
        withdrawal: pool_pb2.Withdrawal = answer.withdrawal
        return withdrawal

    async def _withdrawal_in(self, person: Person, name: str, state: pool_pb2.WithdrawalState.ValueType) -> bool:
        withdrawal = await self._withdrawal(person, name)
        if withdrawal.state == pool_pb2.WITHDRAWAL_STATE_REFUSED:
            raise DemoError(f"the withdrawal is refused: {withdrawal.reason}")
        return withdrawal.state == state

    async def _reconcile(self) -> pool_pb2.Reconciliation:
        pool = self._cast.operator.services.pool
        with remote_errors():
            name = (await pool.RunReconciliation(pool_pb2.RunReconciliationRequest(request_id="demo"))).name
        answer = await self._market.eventually(
            lambda: pool.GetReconciliation(pool_pb2.GetReconciliationRequest(name=name)), "the reconciliation"
        )
        reconciliation: pool_pb2.Reconciliation = answer.reconciliation
        return reconciliation


async def _prepared(played: Played) -> policy_pb2.Policy | None:
    policy = await played.policy()
    if policy.state == policy_pb2.POLICY_STATE_FAILED_CREATION:
        raise DemoError(f"policy {played.plan.scenario} is refused: {policy.reason}")
    return policy if policy.HasField("prepared_transaction") else None


async def _all_in(played: list[Played], state: str) -> bool:
    return all([await one.state() == state for one in played])


async def _as_planned(played: list[Played]) -> bool:
    return all([await one.state() == one.plan.expected_state for one in played])
