"""Queries of one policy, and of the platform: who may see what."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.database import Database
from kernel.errors import FailedPrecondition, InvalidArgument
from kernel.ids import parse_resource_name
from kernel.rpc.caller import Caller, Role
from kernel.units import Token
from services.policy import convert, store
from services.policy.domain.errors import Reason, policy_not_found
from services.policy.domain.policy import COLLECTION, Policy
from services.policy.domain.sensitivities import sensitivities
from services.policy.domain.settlement import preview
from services.policy.domain.transitions import PolicyState
from services.policy.known_records import KnownRecords
from services.policy.sources import Sources
from services.policy.store_figures import COUNT, PAYOUT, PREMIUM, read_figures
from services.policy.store_queries import Record, read_record
from services.policy.watch import Update, Watchers, resume_version


def sees_all(caller: Caller) -> bool:
    """True for operators and services."""
    return caller.has(Role.OPERATOR) or caller.has(Role.SERVICE)


class Reading:
    """Answers to queries."""

    def __init__(self, database: Database, sources: Sources, watchers: Watchers) -> None:
        self._database = database
        self._sources = sources
        self._watchers = watchers
        self._known = KnownRecords(database)

    def message(self, record: Record, caller: Caller) -> policy_pb2.Policy:
        """The record as the caller may see it."""
        for_signing = _sees_what_to_sign(record.policy, caller)
        return convert.policy_message(record, self._sources.tip_or_none(), for_signing=for_signing)

    async def get(self, name: str, caller: Caller) -> policy_pb2.Policy:
        """A policy by its name; NotFound also for another holder's."""
        known = await self._known.read(parse_resource_name(COLLECTION, name))
        policy = _reached(None if known is None else known.record.policy, name, caller)
        assert known is not None
        message = known.lasting_message(for_signing=_sees_what_to_sign(policy, caller))
        convert.add_what_follows_the_tip(message, policy, self._sources.tip_or_none())
        return message

    async def get_by_onchain_id(self, onchain_id: int, caller: Caller) -> policy_pb2.Policy:
        """A policy by its number in the contract."""
        if onchain_id <= 0:
            raise InvalidArgument.of("onchain_id", "must be greater than zero")
        async with self._database.reading() as session:
            policy = _reached(await store.find_onchain(session, onchain_id), f"number {onchain_id}", caller)
            return self.message(await read_record(session, policy), caller)

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
        tip = self._sources.tip_or_none()
        height = None if tip is None else tip.burn_height
        found = preview(policy, btc.price_usd_e8, stx.price_usd_e8, haircut, height)
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

    async def explain_premium(self, name: str, caller: Caller) -> pb.ExplainPremiumResponse:
        """How the premium was made, as it was quoted, and how the value moved with the market then."""
        policy = await self._find(name, caller)
        if policy.breakdown is None:
            raise FailedPrecondition(Reason.NO_BREAKDOWN, "this policy was not quoted here", name=name)
        moved = sensitivities(policy.token, policy.protected_amount_sats, policy.breakdown)
        return pb.ExplainPremiumResponse(
            breakdown=convert.breakdown_message(policy.token, policy.breakdown),
            sensitivities=convert.sensitivities_message(moved),
        )

    async def watch(self, request: pb.WatchPolicyRequest, caller: Caller) -> AsyncIterator[pb.WatchPolicyResponse]:
        """The policy, unless the reader has this version already, then every newer version."""
        policy = await self._find(request.name, caller)
        version = resume_version(request.resume_token)
        # A token of the future cannot be ours: start over rather than stay silent.
        version = version if version <= policy.version else 0
        async for update in self._watchers.changes(policy.id, version):
            token = str(update.record.policy.version)
            yield pb.WatchPolicyResponse(policy=self.shared_message(update, caller), resume_token=token)

    def shared_message(self, update: Update, caller: Caller) -> policy_pb2.Policy:
        """The update's record as the caller may see it, converted once for all who see the same."""
        is_signer = _sees_what_to_sign(update.record.policy, caller)
        if is_signer not in update.messages:
            update.messages[is_signer] = self.message(update.record, caller)
        return update.messages[is_signer]

    async def _find(self, name: str, caller: Caller) -> Policy:
        policy_id = parse_resource_name(COLLECTION, name)
        async with self._database.reading() as session:
            return _reached(await store.find(session, policy_id), name, caller)


def _sees_what_to_sign(policy: Policy, caller: Caller) -> bool:
    return policy.holder_principal == caller.principal or caller.has(Role.SERVICE)


def _reached(policy: Policy | None, name: str, caller: Caller) -> Policy:
    if policy is None or not (sees_all(caller) or policy.holder_principal == caller.principal):
        raise policy_not_found(name)
    return policy
