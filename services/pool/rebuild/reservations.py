"""Capacity that quotes hold, from the quotes that the gateway signed and keeps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc
from bithedge.pool.v1 import pool_service_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.rpc.channels import remote_errors
from kernel.units import Tier, Token, max_payout
from services.pool import convert, store_coverage
from services.pool.domain.collateral import Refusal


async def restore_reservations(database: Database, gateway: grpc.aio.Channel) -> int:
    """Holds again what each signed quote held; the events then commit or release it. How many quotes there are."""
    stub = pb_grpc.ChainGatewayServiceStub(gateway)
    with remote_errors():
        answer = await stub.ListParameters(pb.ListParametersRequest())
    parameters = {parameter.name: parameter.value for parameter in answer.parameters}
    haircuts = {tier: parameters[f"{tier.name.lower()}.stx-haircut-bps"] for tier in Tier}
    request, count = pb.ListSignedQuotesRequest(), 0
    while True:
        with remote_errors():
            page = await stub.ListSignedQuotes(request)
        async with database.transaction() as session:
            for signed in page.signed_quotes:
                await _hold(session, signed, haircuts)
        count += len(page.signed_quotes)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return count


async def _hold(session: AsyncSession, signed: pb.SignedQuote, haircuts: Mapping[Tier, int]) -> None:
    quote = signed.terms
    collateral = max_payout(
        Token(quote.token),
        quote.protected_amount_sats,
        quote.strike_price_usd_e8,
        quote.floor_price_usd_e8,
        quote.stx_price_usd_e8,
        haircuts[Tier(quote.tier)],
    )
    request = pool_service_pb2.CreateReservationRequest(terms=quote, max_payout_base_units=collateral)
    terms = convert.reservation_terms(request)
    if await store_coverage.get_reservation(session, terms.policy_id) is None:
        row = store_coverage.add_reservation(session, terms, convert.terms_digest(request), Refusal.NONE)
        row.create_time = signed.create_time.ToDatetime(dt.UTC)
