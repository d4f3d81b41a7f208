"""The stage of the refusal tests: a running stack with a policy of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from bithedge.oracle.v1 import oracle_service_pb2_grpc as oracle_grpc
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.type.v1 import money_pb2

from deploy.demo.market import Market, Moment, eventually
from deploy.demo.people import Person, sign_in
from deploy.demo.plan import FAUCET, SBTC, STX, deposit_call
from deploy.devnet.driver import DevnetClient
from deploy.local.layout import Layout, Ports
from deploy.local.stack import Stack
from deploy.wallet.driver import Wallet
from kernel.rpc.channels import open_channel, remote_errors
from tests.e2e.refusal_scene import Scene, read_positions

_USD: Final = 100_000_000
_DEPOSIT_SATS: Final = 300_000_000
_PROTECTED_SATS: Final = 20_000_000
# A workflow lives in wall time: each block waits for it before the next is mined.
_PAUSE_SECONDS: Final = 3.0
_LEAST_BLOCKS: Final = 18
_LONG_BLOCKS: Final = 144
_WAIT_SECONDS: Final = 60.0
_TIER: Final = money_pb2.TIER_AGGRESSIVE


class Stage(Scene):
    """People, policies and vouchers; `prepare` brings them about, and after it market time stands still."""

    settled: policy_pb2.Policy
    overdue: policy_pb2.Policy
    late: policy_pb2.Policy
    active: policy_pb2.Policy
    quoted: policy_pb2.Policy
    used: pool_pb2.Withdrawal
    ready: pool_pb2.Withdrawal
    market: Market
    moment: Moment
    # By the label of their policy.
    requests: dict[str, pb.CreatePolicyRequest]

    async def prepare(self, market: Market) -> None:
        """One policy settled, one after its expiration, one quote too late, one open; vouchers used and ready."""
        self.market, self.requests = market, {}
        await self.step()
        prepared = await self.provider.prepare_deposit(deposit_call(_TIER, SBTC, _DEPOSIT_SATS))
        self.deployer = prepared.contract.partition(".")[0]
        await self.mined(await self.provider.submit_through_us(prepared))
        await market.step_until(self._has_shares, 6, "the deposit has its shares", _PAUSE_SECONDS)
        self.overdue = await self.pay(await self.quote("overdue", self.terms(duration_blocks=_LEAST_BLOCKS)))
        self.settled = await self.pay(await self.quote("settled", self.terms()))
        self.late = await self.quote("late", self.terms())
        await self._until_active(self.overdue, self.settled)
        await self._end_some()
        while (await self.step()).burn_height <= self.overdue.expiration_burn_height:
            pass
        self.active = await self.pay(await self.quote("active", self.terms()))
        self.ready = await self._handed_over(await self.withdraw("ready", 1_000_000))
        await self._until_active(self.active)
        self.quoted = await self.quote("quoted", self.terms())
        for name in ("settled", "overdue", "active", "late"):
            setattr(self, name, await self._kept(getattr(self, name)))

    async def _end_some(self) -> None:
        request = pb.ActivatePolicyRequest(request_id="activate/settled", name=self.settled.name)
        with remote_errors():
            await self.holder.services.policy.ActivatePolicy(request)
        self.used = await self._handed_over(await self.withdraw("used", 1_000_000))
        await self.mined(await self.provider.submit_through_us(self.used.prepared_transaction))
        await eventually(self._is_settled_on_chain, "the contract settles the activated policy", _WAIT_SECONDS)
        await self.market.step_until(
            self._has_ended, 4, "the activated policy is SETTLED, the withdrawal PAID", _PAUSE_SECONDS
        )

    async def _is_settled_on_chain(self) -> bool:
        return (await self.policy(self.settled.name)).onchain_state == policy_pb2.ONCHAIN_STATE_SETTLED

    async def _has_ended(self) -> bool:
        is_settled = (await self.policy(self.settled.name)).state == policy_pb2.POLICY_STATE_SETTLED
        return is_settled and (await self.withdrawal(self.used.name)).state == pool_pb2.WITHDRAWAL_STATE_PAID

    async def _handed_over(self, withdrawal: pool_pb2.Withdrawal) -> pool_pb2.Withdrawal:
        """The withdrawal with its voucher, priced by the block after its request."""
        await self.step()
        return await self.decided(withdrawal, pool_pb2.WITHDRAWAL_STATE_READY)

    async def decided(
        self, withdrawal: pool_pb2.Withdrawal, state: pool_pb2.WithdrawalState.ValueType
    ) -> pool_pb2.Withdrawal:
        """The withdrawal in that state. Its workflow tries by wall time, so the market waits for it."""

        async def reached() -> bool:
            return (await self.withdrawal(withdrawal.name)).state == state

        await eventually(reached, f"{withdrawal.name} is in state {state}", _WAIT_SECONDS)
        return await self.withdrawal(withdrawal.name)

    async def cancelled_after_a_part(
        self, asked: pool_pb2.Withdrawal
    ) -> tuple[pool_pb2.Withdrawal, pool_pb2.Withdrawal]:
        """The part of a withdrawal that free capital filled, and the withdrawal, its rest given up."""

        async def filled() -> bool:
            return (await self.withdrawal(asked.name)).filled_shares > 0

        await eventually(filled, f"{asked.name} is filled in part", _WAIT_SECONDS)
        cancel = pool_pb2.CancelWithdrawalRequest(request_id=f"cancel/{asked.name}", name=asked.name)
        pool = self.provider.services.pool
        with remote_errors():
            rest = (await pool.CancelWithdrawal(cancel)).withdrawal
            withdrawals = (await pool.ListWithdrawals(pool_pb2.ListWithdrawalsRequest())).withdrawals
        (part,) = [one for one in withdrawals if one.part_of == asked.name]
        return part, rest

    async def _has_shares(self) -> bool:
        return any(position.shares for position in await read_positions(self.provider))

    async def _kept(self, before: policy_pb2.Policy) -> policy_pb2.Policy:
        """The policy as it is, with the transaction that its holder signed or might have."""
        policy = await self.policy(before.name)
        policy.prepared_transaction.CopyFrom(before.prepared_transaction)
        return policy

    async def step(self) -> Moment:
        """One burn block, followed by every part."""
        self.moment = await self.market.step()
        return self.moment

    def terms(self, **changes: Any) -> pb.PolicyTerms:
        """In the money from the start, so that an activation pays."""
        terms = {
            "protected_amount_sats": _PROTECTED_SATS,
            "strike_price_usd_e8": self.moment.btc_price_usd_e8 * 105 // 100 // _USD * _USD,
            "floor_price_usd_e8": self.moment.btc_price_usd_e8 * 65 // 100 // _USD * _USD,
            "settlement_token": SBTC,
            "duration_blocks": _LONG_BLOCKS,
        }
        return pb.PolicyTerms(**{**terms, **changes})

    async def creation(self, label: str, terms: pb.PolicyTerms) -> pb.CreatePolicyRequest:
        """A request that buys at twice the quoted cost at most."""
        with remote_errors():
            quote = (await self.holder.services.policy.GetQuote(pb.GetQuoteRequest(terms=terms))).quote
        limit = 2 * (quote.premium.base_units + quote.fee.base_units)
        return pb.CreatePolicyRequest(
            request_id=f"create/{label}",
            terms=terms,
            max_premium=money_pb2.TokenAmount(token=SBTC, base_units=limit),
            public_key=self.holder.public_key,
        )

    async def quote(self, label: str, terms: pb.PolicyTerms) -> policy_pb2.Policy:
        """The holder's binding quote, with the transaction to sign."""
        request = self.requests[label] = await self.creation(label, terms)
        with remote_errors():
            name = (await self.holder.services.policy.CreatePolicy(request)).policy.name

        async def signable() -> policy_pb2.Policy | None:
            policy = await self.policy(name)
            return policy if policy.HasField("prepared_transaction") else None

        policy: policy_pb2.Policy = await eventually(signable, f"the transaction of {label}")
        return policy

    async def pay(self, policy: policy_pb2.Policy) -> policy_pb2.Policy:
        """Pays the quote, past us."""
        await self.mined(await self.holder.submit_to_node(policy.prepared_transaction))
        return policy

    async def policy(self, name: str) -> policy_pb2.Policy:
        """The policy as its holder sees it."""
        with remote_errors():
            answer = await self.holder.services.policy.GetPolicy(pb.GetPolicyRequest(name=name))
        policy: policy_pb2.Policy = answer.policy
        return policy

    async def _until_active(self, *policies: policy_pb2.Policy) -> None:
        async def active() -> bool:
            states = [(await self.policy(policy.name)).state for policy in policies]
            return all(state == policy_pb2.POLICY_STATE_ACTIVE for state in states)

        self.moment = await self.market.step_until(active, 5, "the paid policies are ACTIVE")

    def withdrawal_request(self, label: str, shares: int, **changes: Any) -> pool_pb2.CreateWithdrawalRequest:
        """Of the provider's shares."""
        fields = {"tier": _TIER, "token": SBTC, "shares": shares, "public_key": self.provider.public_key}
        return pool_pb2.CreateWithdrawalRequest(request_id=f"withdraw/{label}", **{**fields, **changes})

    async def withdraw(self, label: str, shares: int) -> pool_pb2.Withdrawal:
        """Asks for a withdrawal of so many shares."""
        with remote_errors():
            answer = await self.provider.services.pool.CreateWithdrawal(self.withdrawal_request(label, shares))
        withdrawal: pool_pb2.Withdrawal = answer.withdrawal
        return withdrawal

    async def withdrawal(self, name: str) -> pool_pb2.Withdrawal:
        """A withdrawal of the provider."""
        with remote_errors():
            answer = await self.provider.services.pool.GetWithdrawal(pool_pb2.GetWithdrawalRequest(name=name))
        withdrawal: pool_pb2.Withdrawal = answer.withdrawal
        return withdrawal


async def _nothing(moment: Moment) -> None:
    """The books are asserted around every refusal, not at every block."""


@asynccontextmanager
async def running_stage(folder: Path) -> AsyncIterator[Stage]:
    """A stack of its own, prepared."""
    stack = Stack(Layout(folder / "stack", Ports.free(), "2020-03-11T12:00:00Z", 0.0), lambda _: None)
    try:
        await stack.start()
        async with AsyncExitStack() as opened:
            devnet = await opened.enter_async_context(DevnetClient(stack.layout.node_url))
            wallet = await opened.enter_async_context(Wallet(stack.layout.node_url))
            oracle = await opened.enter_async_context(open_channel(stack.layout.address("oracle")))
            people = await _people(stack, devnet, wallet)
            stage = Stage(stack, devnet, wallet, people)
            services = people["operator"].services
            await stage.prepare(Market(devnet, services, oracle_grpc.OracleServiceStub(oracle), _nothing))
            yield stage
    finally:
        stack.stop()


async def _people(stack: Stack, devnet: DevnetClient, wallet: Wallet) -> dict[str, Person]:
    names = ("operator", "provider", "holder", "stranger")
    people = {name: await sign_in(name, stack.keys.seed(name), wallet, stack.layout) for name in names}
    for person in people.values():
        await devnet.faucet_stx(person.principal, FAUCET[STX])
        await devnet.wait_for(await devnet.faucet_sbtc(person.principal, FAUCET[SBTC]))
    return people
