"""Lists of policies: who may see which, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import InvalidArgument
from kernel.paging import page_size
from kernel.rpc.caller import Caller
from services.policy import convert, convert_healing, convert_lists
from services.policy.convert_lists import ReadMask
from services.policy.domain.policy import Policy
from services.policy.domain.transitions import PolicyState
from services.policy.reading import Reading, sees_all
from services.policy.store_projection import Stream, read_projection
from services.policy.store_queries import (
    Order,
    PolicyFilter,
    list_onchain,
    list_onchain_of,
    list_policies,
    read_records,
)

_PAGE: Final = 50
_MAX_PAGE: Final = 200
_MAX_TOTALS_PAGE: Final = 1_000


class Listing:
    """Answers to queries of many policies."""

    def __init__(self, database: Database, reading: Reading) -> None:
        self._database = database
        self._reading = reading

    async def list(self, request: pb.ListPoliciesRequest, caller: Caller) -> pb.ListPoliciesResponse:
        """The caller's policies, or for operators and services anyone's."""
        everyone = sees_all(caller) and not request.holder_principal
        holder = None if everyone else caller.principal_for(request.holder_principal)
        wanted = convert_lists.filter_from(request, holder)
        policies, token = await self._page(request, wanted, caller)
        return pb.ListPoliciesResponse(policies=policies, next_page_token=token)

    async def list_expiring(
        self, request: pb.ListExpiringPoliciesRequest, caller: Caller
    ) -> pb.ListExpiringPoliciesResponse:
        """ACTIVE policies that expire between two heights."""
        if not 0 <= request.from_burn_height <= request.to_burn_height:
            raise InvalidArgument.of("to_burn_height", "must not be below from_burn_height")
        wanted = PolicyFilter(
            holder_principal=None,
            states=(PolicyState.ACTIVE,),
            from_height=request.from_burn_height,
            to_height=request.to_burn_height,
            order=Order.EXPIRATION,
        )
        policies, token = await self._page(request, wanted, caller)
        return pb.ListExpiringPoliciesResponse(policies=policies, next_page_token=token)

    async def _page(
        self,
        request: pb.ListPoliciesRequest | pb.ListExpiringPoliciesRequest,
        wanted: PolicyFilter,
        caller: Caller,
    ) -> tuple[Sequence[policy_pb2.Policy], str]:
        size = page_size(request.page_size, _PAGE, _MAX_PAGE)
        mask = convert_lists.read_mask_from(request.read_mask)
        kinds = (int, str) if wanted.order is Order.EXPIRATION else (str,)
        after = convert_lists.from_page_token(request, *kinds)
        async with self._database.reading() as session:
            policies = await list_policies(session, wanted, after, size + 1)
            messages = await self._messages(session, policies[:size], mask, caller)
        if len(policies) <= size:
            return messages, ""
        return messages, convert_lists.page_token(request, *convert_lists.key_of(policies[size - 1], wanted.order))

    async def _messages(
        self, session: AsyncSession, policies: Sequence[Policy], mask: ReadMask, caller: Caller
    ) -> Sequence[policy_pb2.Policy]:
        records = await read_records(session, policies, mask.parts)
        return [mask.reduced(self._reading.message(record, caller)) for record in records]

    async def totals(self, request: pb.ListPolicyTotalsRequest) -> pb.ListPolicyTotalsResponse:
        """What the books say of every policy that is or was on chain, with the height they are at."""
        size = page_size(request.page_size, _PAGE, _MAX_TOTALS_PAGE)
        named = convert_healing.totals_of(request)
        async with self._database.snapshot() as session:
            projection = await read_projection(session, Stream.FINAL)
            if named is None:
                policies = await list_onchain(session, request.after_onchain_id, size + 1)
            else:
                size, policies = len(named), await list_onchain_of(session, named)
        return pb.ListPolicyTotalsResponse(
            policies=[convert.policy_total(policy) for policy in policies[:size]],
            next_after_onchain_id=policies[size - 1].onchain_id if len(policies) > size else 0,
            projected_burn_height=projection.delivered_burn_height,
        )
