"""Queries of policies: who may see which, a page at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.database import Database
from kernel.errors import FailedPrecondition, InvalidArgument
from kernel.ids import parse_resource_name
from kernel.paging import page_size
from kernel.rpc.caller import Caller, Role
from kernel.units import Token
from services.policy import convert, store
from services.policy.domain.errors import Reason, policy_not_found
from services.policy.domain.policy import COLLECTION, Policy
from services.policy.domain.settlement import preview
from services.policy.domain.transitions import PolicyState
from services.policy.sources import Sources
from services.policy.store_figures import COUNT, PAYOUT, PREMIUM, read_figures
from services.policy.store_projection import Stream, read_projection
from services.policy.store_queries import (
    PolicyFilter,
    Record,
    list_expiring,
    list_onchain,
    list_policies,
    read_record,
    read_records,
)
from services.policy.watch import Watchers, resume_version

_PAGE: Final = 50
_MAX_PAGE: Final = 200
_MAX_TOTALS_PAGE: Final = 1_000


def sees_all(caller: Caller) -> bool:
    """True for operators and services."""
    return caller.has(Role.OPERATOR) or caller.has(Role.SERVICE)


class Reading:
    """Answers to queries."""

    def __init__(self, database: Database, sources: Sources, watchers: Watchers) -> None:
        self._database = database
        self._sources = sources
        self._watchers = watchers

    def message(self, record: Record, caller: Caller) -> policy_pb2.Policy:
        """The record as the caller may see it."""
        is_holder = record.policy.holder_principal == caller.principal
        for_signing = is_holder or caller.has(Role.SERVICE)
        return convert.policy_message(record, self._sources.tip_or_none(), for_signing=for_signing)

    async def get(self, name: str, caller: Caller) -> policy_pb2.Policy:
        """A policy by its name; NotFound also for another holder's."""
        policy_id = parse_resource_name(COLLECTION, name)
        async with self._database.reading() as session:
            policy = _reached(await store.find(session, policy_id), name, caller)
            return self.message(await read_record(session, policy), caller)

    async def get_by_onchain_id(self, onchain_id: int, caller: Caller) -> policy_pb2.Policy:
        """A policy by its number in the contract."""
        if onchain_id <= 0:
            raise InvalidArgument.of("onchain_id", "must be greater than zero")
        async with self._database.reading() as session:
            policy = _reached(await store.find_onchain(session, onchain_id), f"number {onchain_id}", caller)
            return self.message(await read_record(session, policy), caller)

    async def list(self, request: pb.ListPoliciesRequest, caller: Caller) -> pb.ListPoliciesResponse:
        """The caller's policies, or for operators and services anyone's, newest first."""
        size = page_size(request.page_size, _PAGE, _MAX_PAGE)
        key = convert.from_page_token(request.page_token, str)
        everyone = sees_all(caller) and not request.holder_principal
        holder = None if everyone else caller.principal_for(request.holder_principal)
        wanted = PolicyFilter(holder, convert.states_from(request.states), convert.optional_tier(request.tier))
        async with self._database.reading() as session:
            policies = await list_policies(session, wanted, key[0] if key else None, size + 1)
            records = await read_records(session, policies[:size])
        token = convert.page_token(policies[size - 1].id) if len(policies) > size else ""
        messages = [self.message(record, caller) for record in records]
        return pb.ListPoliciesResponse(policies=messages, next_page_token=token)

    async def list_expiring(
        self, request: pb.ListExpiringPoliciesRequest, caller: Caller
    ) -> pb.ListExpiringPoliciesResponse:
        """ACTIVE policies that expire between two heights."""
        if not 0 <= request.from_burn_height <= request.to_burn_height:
            raise InvalidArgument.of("to_burn_height", "must not be below from_burn_height")
        size = page_size(request.page_size, _PAGE, _MAX_PAGE)
        key = convert.from_page_token(request.page_token, int, str)
        after = (key[0], key[1]) if key else None
        async with self._database.reading() as session:
            policies = await list_expiring(session, request.from_burn_height, request.to_burn_height, after, size + 1)
            records = await read_records(session, policies[:size])
        token = ""
        if len(policies) > size:
            token = convert.page_token(policies[size - 1].expiration_burn_height, policies[size - 1].id)
        messages = [self.message(record, caller) for record in records]
        return pb.ListExpiringPoliciesResponse(policies=messages, next_page_token=token)

    async def totals(self, request: pb.ListPolicyTotalsRequest) -> pb.ListPolicyTotalsResponse:
        """What the books say of every policy that is or was on chain, with the height they are at."""
        size = page_size(request.page_size, _PAGE, _MAX_TOTALS_PAGE)
        async with self._database.reading() as session:
            projection = await read_projection(session, Stream.FINAL)
            policies = await list_onchain(session, request.after_onchain_id, size + 1)
        return pb.ListPolicyTotalsResponse(
            policies=[convert.policy_total(policy) for policy in policies[:size]],
            next_after_onchain_id=policies[size - 1].onchain_id if len(policies) > size else 0,
            projected_burn_height=projection.delivered_burn_height,
        )

    async def stats(self) -> pb.GetPlatformStatsResponse:
        """Counts by state, premiums and payouts by token; every state and token is named."""
        async with self._database.reading() as session:
            figures = await read_figures(session)
        return pb.GetPlatformStatsResponse(
            counts=[
                pb.StateCount(state=convert.state_value(state), count=figures[COUNT, str(state)])
                for state in PolicyState
            ],
            premiums=[convert.amount(token, figures[PREMIUM, token.name]) for token in Token],
            payouts=[convert.amount(token, figures[PAYOUT, token.name]) for token in Token],
        )

    async def preview(self, name: str, caller: Caller) -> pb.PreviewSettlementResponse:
        """What activation would pay at the latest prices, and why."""
        policy = await self._find(name, caller)
        btc, stx = await self._sources.prices()
        haircut = (await self._sources.parameters())[f"{policy.tier.name.lower()}.stx-haircut-bps"]
        found = preview(policy, btc.price_usd_e8, stx.price_usd_e8, haircut)
        return pb.PreviewSettlementResponse(
            payout=convert.amount(policy.token, found.payout_base_units),
            in_the_money=found.in_the_money,
            btc_price_usd_e8=btc.price_usd_e8,
            stx_price_usd_e8=stx.price_usd_e8,
            btc_round=btc.round,
            stx_round=stx.round,
            explanation=found.explanation,
            cap_binds_below_stx_price_usd_e8=found.cap_binds_below_stx_price_usd_e8,
        )

    async def explain_premium(self, name: str, caller: Caller) -> policy_pb2.PremiumBreakdown:
        """How the premium was made, as it was quoted."""
        policy = await self._find(name, caller)
        if policy.breakdown is None:
            raise FailedPrecondition(Reason.NO_BREAKDOWN, "this policy was not quoted here", name=name)
        return convert.breakdown_message(policy.token, policy.breakdown)

    async def watch(self, request: pb.WatchPolicyRequest, caller: Caller) -> AsyncIterator[pb.WatchPolicyResponse]:
        """The policy, unless the reader has this version already, then every newer version."""
        policy = await self._find(request.name, caller)
        version = resume_version(request.resume_token)
        # A token of the future cannot be ours: start over rather than stay silent.
        version = version if version <= policy.version else 0
        async for record in self._watchers.changes(policy.id, version):
            yield pb.WatchPolicyResponse(policy=self.message(record, caller), resume_token=str(record.policy.version))

    async def _find(self, name: str, caller: Caller) -> Policy:
        policy_id = parse_resource_name(COLLECTION, name)
        async with self._database.reading() as session:
            return _reached(await store.find(session, policy_id), name, caller)


def _reached(policy: Policy | None, name: str, caller: Caller) -> Policy:
    if policy is None or not (sees_all(caller) or policy.holder_principal == caller.principal):
        raise policy_not_found(name)
    return policy
