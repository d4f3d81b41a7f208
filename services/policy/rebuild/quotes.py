"""Policies as they waited for their payment, from the quotes that the gateway signed and keeps."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc

from kernel.database import Database
from kernel.rpc.channels import remote_errors
from kernel.units import Tier
from services.policy import store
from services.policy.convert_retained import policy_from_quote
from services.policy.domain.parameters import Parameters
from services.policy.domain.policy import Origin, birth
from services.policy.domain.transitions import Actor, Cause
from services.policy.store_rebuild import known_ids


async def restore_quotes(database: Database, gateway: grpc.aio.Channel, vault: str) -> int:
    """Adds a PENDING_CREATION policy for each quote that has no row yet; how many quotes there are."""
    stub = pb_grpc.ChainGatewayServiceStub(gateway)
    haircuts = await _haircuts(stub)
    request, count = pb.ListSignedQuotesRequest(), 0
    while True:
        with remote_errors():
            page = await stub.ListSignedQuotes(request)
        await _add(database, page, haircuts, vault)
        count += len(page.signed_quotes)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return count


async def _haircuts(stub: pb_grpc.ChainGatewayServiceAsyncStub) -> Mapping[Tier, int]:
    with remote_errors():
        answer = await stub.ListParameters(pb.ListParametersRequest())
    parameters = Parameters({parameter.name: parameter.value for parameter in answer.parameters})
    return {bounds.tier: bounds.stx_haircut_bps for bounds in parameters.tiers()}


async def _add(database: Database, page: pb.ListSignedQuotesResponse, haircuts: Mapping[Tier, int], vault: str) -> None:
    policies = [policy_from_quote(signed, haircuts, vault) for signed in page.signed_quotes]
    async with database.transaction() as session:
        known = await known_ids(session, [policy.id for policy in policies])
        for policy in policies:
            if policy.id not in known:
                origin = Origin(policy.create_time, burn_height=policy.quote_burn_height)
                await store.insert(session, policy, birth(policy, Actor.CALL, Cause.QUOTE_ACCEPTED, origin))
