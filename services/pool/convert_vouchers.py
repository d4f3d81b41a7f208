"""Vouchers to messages and back."""

from __future__ import annotations

import datetime as dt

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2
from bithedge.type.v1 import money_pb2

from kernel.ids import parse_resource_name, resource_name
from services.pool import tables
from services.pool.convert import amount_message
from services.pool.domain.withdrawal import WithdrawalState


def voucher_terms(row: tables.Withdrawal) -> chain_gateway_service_pb2.VoucherTerms:
    """What the voucher of a priced withdrawal binds."""
    return chain_gateway_service_pb2.VoucherTerms(
        withdrawal=resource_name("withdrawals", row.id),
        provider_principal=row.provider,
        amount=amount_message(row.token, row.amount),
        expiration_burn_height=row.voucher_expiration_burn_height,
        tier=money_pb2.Tier.ValueType(row.tier),
    )


def signed_voucher(signed: chain_gateway_service_pb2.SignedVoucher) -> tables.Withdrawal | None:
    """A withdrawal of which the voucher alone is known; None where not even its tier is."""
    terms = signed.terms
    if not terms.tier:
        return None
    time = signed.create_time.ToDatetime(dt.UTC)
    return tables.Withdrawal(
        id=parse_resource_name("withdrawals", terms.withdrawal, "terms.withdrawal"),
        provider=terms.provider_principal,
        tier=terms.tier,
        token=terms.amount.token,
        shares=0,
        state=WithdrawalState.READY.value,
        amount=terms.amount.base_units,
        voucher_expiration_burn_height=terms.expiration_burn_height,
        last_use_burn_height=terms.expiration_burn_height,
        signature=signed.signature,
        restored=True,
        request_market_time=time,
        create_time=time,
    )
