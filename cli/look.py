"""What the command shows of a running stack."""

from __future__ import annotations

from typing import Final

import grpc
from bithedge.oracle.v1 import oracle_service_pb2, oracle_service_pb2_grpc
from bithedge.policy.v1 import policy_pb2, policy_service_pb2, policy_service_pb2_grpc
from bithedge.type.v1 import money_pb2, price_pb2
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from rich.console import Console
from rich.table import Table

from deploy.local.layout import SERVICES, Layout
from kernel.rpc.channels import open_channel, remote_errors

_USD_E8: Final = 100_000_000
_DIGITS: Final = {money_pb2.TOKEN_STX: 6, money_pb2.TOKEN_SBTC: 8}


def usd(amount_e8: int) -> str:
    """USD with two digits, from 8 decimals; for people only."""
    return f"{amount_e8 // _USD_E8:,}.{amount_e8 % _USD_E8 // 1_000_000:02}"


def figure(amount: money_pb2.TokenAmount) -> str:
    """An amount without its token, all digits; for people only."""
    digits = _DIGITS[amount.token]
    return f"{amount.base_units // 10**digits:,}.{amount.base_units % 10**digits:0{digits}}"


def tokens(amount: money_pb2.TokenAmount) -> str:
    """An amount with its token, all digits; for people only."""
    return f"{figure(amount)} {'STX' if amount.token == money_pb2.TOKEN_STX else 'sBTC'}"


def print_services(console: Console, layout: Layout) -> None:
    """Every service and its methods, as reflection tells them."""
    for name in SERVICES:
        with grpc.insecure_channel(layout.address(name)) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            pool = DescriptorPool(database)
            for service in database.get_services():
                console.print(f"{layout.address(name)}  [bold]{service}[/bold]")
                for method in pool.FindServiceByName(service).methods:
                    console.print(f"    {method.name}")


async def print_price(console: Console, layout: Layout) -> None:
    """The latest aggregate of each feed with its observations."""
    async with open_channel(layout.address("oracle")) as channel:
        stub = oracle_service_pb2_grpc.OracleServiceStub(channel)
        for feed in (price_pb2.FEED_BTC_USD, price_pb2.FEED_STX_USD):
            with remote_errors():
                price = (await stub.GetPrice(oracle_service_pb2.GetPriceRequest(feed=feed))).price
                request = oracle_service_pb2.GetRoundRequest(feed=feed, round=price.round)
                round_ = await stub.GetRound(request)
            synthetic = ", synthetic history" if price.synthetic else ""
            title = f"{price_pb2.Feed.Name(feed)[5:]}  {usd(price.price_usd_e8)}  round {price.round}{synthetic}"
            table = Table("source", "price", "market time", "used", title=title, title_justify="left")
            for seen in round_.observations:
                time = seen.observe_time.ToJsonString()
                table.add_row(seen.source, usd(seen.price_usd_e8), time, seen.rejection or "yes")
            console.print(table)


async def print_receipt(layout: Layout, policy: str | None, activation: int, expiration_burn_height: int) -> None:
    """A receipt with its evidence in protobuf's JSON form, as `python -m services.oracle.verify` reads it."""
    request = oracle_service_pb2.GetReceiptRequest()
    if policy is None:
        request.expiry.expiration_burn_height = expiration_burn_height
    else:
        request.activation.policy = policy
        request.activation.activation_number = activation
    async with open_channel(layout.address("oracle")) as channel:
        with remote_errors():
            answer = await oracle_service_pb2_grpc.OracleServiceStub(channel).GetReceipt(request)
    print(json_format.MessageToJson(answer))


async def print_quote(
    console: Console, layout: Layout, sats: int, strike_usd: int, floor_usd: int, blocks: int, token: str
) -> None:
    """An indicative quote, itemised."""
    terms = policy_service_pb2.PolicyTerms(
        protected_amount_sats=sats,
        strike_price_usd_e8=strike_usd * _USD_E8,
        floor_price_usd_e8=floor_usd * _USD_E8,
        settlement_token=money_pb2.Token.Value(f"TOKEN_{token}"),
        duration_blocks=blocks,
    )
    async with open_channel(layout.address("policy")) as channel:
        with remote_errors():
            request = policy_service_pb2.GetQuoteRequest(terms=terms)
            quote = (await policy_service_pb2_grpc.PolicyServiceStub(channel).GetQuote(request)).quote
    table = Table(show_header=False)
    for name, value in _quote_lines(quote):
        table.add_row(name, value)
    console.print(table)


def _quote_lines(quote: policy_pb2.Quote) -> list[tuple[str, str]]:
    breakdown = quote.breakdown
    return [
        ("tier", f"{money_pb2.Tier.Name(quote.tier)[5:]}: {quote.tier_reason}"),
        ("spot", usd(breakdown.btc_price_usd_e8)),
        ("volatility", f"{breakdown.volatility:.1%} ({breakdown.volatility_source})"),
        ("European value per BTC", usd(breakdown.european_value_usd_e8)),
        ("early exercise per BTC", usd(breakdown.early_exercise_value_usd_e8)),
        ("uncertain duration per BTC", usd(breakdown.duration_value_usd_e8)),
        ("loading", f"{breakdown.loading_bps / 100:g}%"),
        ("loading for scarce capital", f"{breakdown.utilization_loading_bps / 100:g}%"),
        ("premium", tokens(quote.premium)),
        ("fee", tokens(quote.fee)),
        ("pays at most", tokens(quote.max_payout)),
        (
            "expires",
            f"burn block {quote.expiration_burn_height}, about {quote.estimated_expiration_time.ToJsonString()}",
        ),
    ]
