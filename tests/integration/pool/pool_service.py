"""A running pool service beside its stand-ins, and the words that tests speak to it with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2
from bithedge.oracle.v1 import oracle_service_pb2
from bithedge.pool.v1 import notification_service_pb2_grpc, pool_service_pb2_grpc
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import money_pb2, transaction_pb2

from kernel.database import Database, migrate
from kernel.errors import Unavailable
from kernel.feed import Numbering
from kernel.ids import new_id
from kernel.lease import LeaderLease
from kernel.rpc.caller import Role
from kernel.rpc.channels import open_channel
from kernel.rpc.server import Process, Service, start_server
from kernel.rpc.tip import TipFollower
from kernel.units import Tier, Token, max_payout
from services.pool.__main__ import MIGRATIONS, build_parts, services
from services.pool.domain.collateral import UnpaidLimits
from services.pool.parts import Parts
from services.pool.projector import Projector
from services.pool.servicer import PoolServicer
from services.pool.servicer_notifications import NotificationServicer
from services.pool.store_feed import LINES
from services.pool.tables import Lease
from services.pool.watch import Watchers
from tests.integration.pool.stand_ins import StandInGateway, StandInOracle, add_gateway, add_oracle
from tests.tokens import TestTokens, metadata, service_metadata

WORKFLOWS = service_metadata("workflows")
OPERATOR = metadata("SP-OPERATOR", Role.OPERATOR)
LIMITS = UnpaidLimits(per_principal=3, per_tier=200)
E8 = 10**8
HAIRCUTS = {Tier.CONSERVATIVE: 2000, Tier.BALANCED: 3000, Tier.AGGRESSIVE: 4000}


def provider(name: str) -> tuple[tuple[str, str], ...]:
    """Call metadata of a provider."""
    return metadata(name, Role.PROVIDER)


@dataclass
class RunningPool:
    """The service, its stand-ins and a stub."""

    database: Database
    gateway: StandInGateway
    oracle: StandInOracle
    stub: pool_service_pb2_grpc.PoolServiceAsyncStub
    notifications: notification_service_pb2_grpc.NotificationServiceAsyncStub
    gateway_channel: grpc.aio.Channel
    parts: Parts
    tip: TipFollower

    async def told_the_time(self) -> None:
        """Returns when the service has heard of the gateway's market time."""

        async def heard() -> bool:
            return self.tip.now() == self.gateway.now()

        await eventually(heard)

    async def projected(self, number: int) -> None:
        """Returns when the projector has applied the answer of this number."""

        async def reached() -> bool:
            return int((await self.scalar("SELECT cursor FROM pool.cursor")) or 0) >= number

        await eventually(reached)

    async def scalar(self, statement: str) -> Any:
        """One value straight from the database."""
        async with self.database.engine.connect() as connection:
            return (await connection.execute(sa.text(statement))).scalar()

    async def final(self, *events: event_pb2.ChainEvent, blocks: int = 1) -> None:
        """Delivers final events and waits for the books to follow."""
        await self.projected(await self.gateway.finalize(*events, blocks=blocks))

    def deposited(
        self, who: str, amount: int, tier: Tier = Tier.BALANCED, token: Token = Token.STX
    ) -> event_pb2.ChainEvent:
        """A deposit event."""
        return self.gateway.event(
            deposited=event_pb2.Deposited(
                provider_principal=who, amount=amount_of(token, amount), tier=money_pb2.Tier.ValueType(int(tier))
            )
        )

    async def invest(self, who: str, amount: int, tier: Tier = Tier.BALANCED, token: Token = Token.STX) -> pb.Deposit:
        """A deposit, final and priced."""
        event = self.deposited(who, amount, tier, token)
        await self.final(event)
        return await self.price(event)

    async def price(self, event: event_pb2.ChainEvent) -> pb.Deposit:
        """Prices the deposit of an event a second later."""
        await self.gateway.pass_seconds(1)
        name = f"deposits/{event.txid}-{event.event_index}"
        answer = await self.stub.PriceDeposit(pb.PriceDepositRequest(name=name), metadata=WORKFLOWS)
        return answer.deposit

    async def reserve(self, terms: transaction_pb2.QuoteTerms, collateral: int | None = None) -> pb.Reservation:
        """Reserves for terms."""
        request = pb.CreateReservationRequest(
            terms=terms, max_payout_base_units=collateral_of(terms) if collateral is None else collateral
        )
        return (await self.stub.CreateReservation(request, metadata=WORKFLOWS)).reservation

    def terms(self, amount_sats: int, **changes: Any) -> transaction_pb2.QuoteTerms:
        """Terms of a quote: BALANCED, STX, strike 100,000, floor 80,000, at the prices of now."""
        values: dict[str, Any] = {
            "policy": f"policies/{new_id()}",
            "holder_principal": f"SP-{new_id()}",
            "tier": int(Tier.BALANCED),
            "token": int(Token.STX),
            "protected_amount_sats": amount_sats,
            "strike_price_usd_e8": 100_000 * E8,
            "floor_price_usd_e8": 80_000 * E8,
            "btc_price_usd_e8": self.oracle.btc_e8,
            "stx_price_usd_e8": self.oracle.stx_e8,
            "premium_base_units": 1_000,
            "fee_base_units": 10,
            "auto_settle": True,
            "quote_burn_height": self.gateway.burn_height,
            "quote_expiration_burn_height": self.gateway.burn_height + 6,
            "expiration_burn_height": self.gateway.burn_height + 100,
        }
        return transaction_pb2.QuoteTerms(**(values | changes))

    def created(self, terms: transaction_pb2.QuoteTerms, onchain_id: int) -> event_pb2.ChainEvent:
        """The event of a policy's creation."""
        return self.gateway.event(
            policy_created=event_pb2.PolicyCreated(
                onchain_id=onchain_id,
                terms=terms,
                max_payout_base_units=collateral_of(terms),
                created_burn_height=self.gateway.burn_height,
                grace_blocks=6,
            )
        )

    def settled(self, terms: transaction_pb2.QuoteTerms, onchain_id: int, payout: int) -> event_pb2.ChainEvent:
        """The event of a policy's settlement."""
        return self.gateway.event(
            policy_settled=event_pb2.PolicySettled(
                onchain_id=onchain_id,
                policy=terms.policy,
                payout=amount_of(Token(terms.token), payout),
                max_payout_base_units=collateral_of(terms),
            )
        )

    def expired(self, terms: transaction_pb2.QuoteTerms, onchain_id: int) -> event_pb2.ChainEvent:
        """The event of a policy's expiry."""
        return self.gateway.event(
            policy_expired=event_pb2.PolicyExpired(
                onchain_id=onchain_id,
                policy=terms.policy,
                token=money_pb2.Token.ValueType(terms.token),
                max_payout_base_units=collateral_of(terms),
            )
        )

    async def capital(self, tier: Tier = Tier.BALANCED, token: Token = Token.STX) -> pb.TierCapital:
        """A tier's availability."""
        request = pb.GetTierAvailabilityRequest(
            tier=money_pb2.Tier.ValueType(int(tier)), token=money_pb2.Token.ValueType(int(token))
        )
        return (await self.stub.GetTierAvailability(request)).capital

    async def accounts(self) -> dict[str, int]:
        """Balances by account."""
        statement = await self.stub.GetPoolStatement(pb.GetPoolStatementRequest())
        return {account.account: account.balance_delta_base_units for account in statement.accounts}

    async def outbox(self, kind: str) -> list[Any]:
        """Payloads of the outbox rows of a kind."""
        async with self.database.engine.connect() as connection:
            statement = sa.text("SELECT payload FROM pool.outbox WHERE kind = :kind ORDER BY id")
            return [row.payload for row in await connection.execute(statement, {"kind": kind})]


def amount_of(token: Token, base_units: int) -> money_pb2.TokenAmount:
    """An amount."""
    return money_pb2.TokenAmount(token=money_pb2.Token.ValueType(int(token)), base_units=base_units)


def collateral_of(terms: transaction_pb2.QuoteTerms) -> int:
    """What the contract computes for terms."""
    return max_payout(
        Token(terms.token),
        terms.protected_amount_sats,
        terms.strike_price_usd_e8,
        terms.floor_price_usd_e8,
        terms.stx_price_usd_e8,
        HAIRCUTS[Tier(terms.tier)],
    )


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Returns when the condition holds; TimeoutError otherwise."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


async def _serve(*offered: Service) -> tuple[grpc.aio.Server, int]:
    server, port, _ = await start_server(Process("127.0.0.1:0", 0, offered, TestTokens()))
    return server, port


@contextlib.asynccontextmanager
async def running_pool(database_url: str) -> AsyncIterator[RunningPool]:
    """A migrated pool service with its projector running."""
    await migrate(database_url, "pool", Path(MIGRATIONS))
    database = Database(database_url)
    gateway = StandInGateway()
    oracle = StandInOracle(gateway)
    gateway_service = chain_gateway_service_pb2.DESCRIPTOR.services_by_name["ChainGatewayService"]
    oracle_service = oracle_service_pb2.DESCRIPTOR.services_by_name["OracleService"]
    gateway_server, gateway_port = await _serve(Service(gateway_service, lambda server: add_gateway(gateway, server)))
    oracle_server, oracle_port = await _serve(Service(oracle_service, lambda server: add_oracle(oracle, server)))
    tokens = _PoolTokens()
    gateway_channel = open_channel(f"127.0.0.1:{gateway_port}", tokens)
    oracle_channel = open_channel(f"127.0.0.1:{oracle_port}", tokens)
    tip = TipFollower(gateway_channel)
    parts = build_parts(database, gateway_channel, oracle_channel, tip, LIMITS)
    servicer = PoolServicer(parts)
    projector = Projector(database, gateway_channel)
    watchers, numbering = Watchers(database), Numbering(database, LeaderLease(database, Lease, "numbering"), LINES)
    work = (tip.follow, projector.run, watchers.run, numbering.run)
    tasks = [asyncio.ensure_future(one()) for one in work]
    pool_server, port = await _serve(*services(servicer, NotificationServicer(database, watchers)))
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    try:
        await eventually(lambda: _tip_known(tip))
        stub = pool_service_pb2_grpc.PoolServiceStub(channel)
        notifications = notification_service_pb2_grpc.NotificationServiceStub(channel)
        yield RunningPool(database, gateway, oracle, stub, notifications, gateway_channel, parts, tip)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(channel.close(), gateway_channel.close(), oracle_channel.close())
        await asyncio.gather(*(server.stop(None) for server in (pool_server, gateway_server, oracle_server)))
        await database.close()


async def _tip_known(tip: TipFollower) -> bool:
    try:
        return tip.tip.burn_height > 0
    except Unavailable:
        return False


class _PoolTokens:
    """The pool's own token towards the stand-ins."""

    async def token(self) -> str:
        """A token of role service."""
        return "service:pool|SERVICE"
