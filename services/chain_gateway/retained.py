"""What was asked for and is kept for good: other services make their books again from it and from the events."""

from __future__ import annotations

from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel.database import Database
from kernel.errors import InvalidArgument
from kernel.ids import is_id
from kernel.paging import page_size
from services.chain_gateway import convert_retained, store_retained
from services.chain_gateway.domain.contract_call import SETTLE

_PAGE: Final = 500
_MAX_PAGE: Final = 2_000


class Retained:
    """Serves ListSignedQuotes, ListSignedVouchers and ListSettlementIntents.

    A page's token is the last id of the page before.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def signed_quotes(self, request: pb.ListSignedQuotesRequest) -> pb.ListSignedQuotesResponse:
        """A page of quotes. InvalidArgument for a token that is none of ours."""
        size, after = page_size(request.page_size, _PAGE, _MAX_PAGE), _after(request.page_token)
        async with self._database.transaction() as session:
            rows = await store_retained.signed_quotes(session, after, size + 1)
        return pb.ListSignedQuotesResponse(
            signed_quotes=[convert_retained.signed_quote(row) for row in rows[:size]],
            next_page_token=rows[size - 1].policy_id if len(rows) > size else "",
        )

    async def signed_vouchers(self, request: pb.ListSignedVouchersRequest) -> pb.ListSignedVouchersResponse:
        """A page of vouchers. InvalidArgument for a token that is none of ours."""
        size, after = page_size(request.page_size, _PAGE, _MAX_PAGE), _after(request.page_token)
        async with self._database.transaction() as session:
            rows = await store_retained.signed_vouchers(session, after, size + 1)
        return pb.ListSignedVouchersResponse(
            signed_vouchers=[convert_retained.signed_voucher(row) for row in rows[:size]],
            next_page_token=rows[size - 1].withdrawal_id if len(rows) > size else "",
        )

    async def settlement_intents(self, request: pb.ListSettlementIntentsRequest) -> pb.ListSettlementIntentsResponse:
        """A page of settlements. InvalidArgument for a token that is none of ours."""
        size, after = page_size(request.page_size, _PAGE, _MAX_PAGE), _after(request.page_token)
        async with self._database.transaction() as session:
            rows = await store_retained.intents_of(session, SETTLE.contract, SETTLE.function, after, size + 1)
        return pb.ListSettlementIntentsResponse(
            settlement_intents=[convert_retained.settlement_intent(row) for row in rows[:size]],
            next_page_token=rows[size - 1].id if len(rows) > size else "",
        )


def _after(page_token: str) -> str:
    if page_token and not is_id(page_token):
        raise InvalidArgument.of("page_token", "not a token of ours", "INVALID_PAGE_TOKEN")
    return page_token
