"""Withdrawals whose voucher was signed, from what the gateway keeps of them."""

from __future__ import annotations

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc

from kernel.database import Database
from kernel.rpc.channels import remote_errors
from services.pool import convert_vouchers, store_positions


async def restore_vouchers(database: Database, gateway: grpc.aio.Channel) -> int:
    """Expects each signed voucher again; the events then pay it, or it lapses. How many vouchers there are.

    Those signed before tiers were kept with them are passed over: their payments are explained by nothing.
    """
    stub, request, count = pb_grpc.ChainGatewayServiceStub(gateway), pb.ListSignedVouchersRequest(), 0
    while True:
        with remote_errors():
            page = await stub.ListSignedVouchers(request)
        async with database.transaction() as session:
            for row in map(convert_vouchers.signed_voucher, page.signed_vouchers):
                if row is not None and await store_positions.get_withdrawal(session, row.id) is None:
                    session.add(row)
        count += len(page.signed_vouchers)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return count
