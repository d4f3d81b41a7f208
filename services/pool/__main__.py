"""The pool service's process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
from bithedge.pool.v1 import (
    notification_service_pb2,
    notification_service_pb2_grpc,
    pool_service_pb2,
    pool_service_pb2_grpc,
)
from temporalio.client import Client

from kernel.database import Database, migrate
from kernel.feed import Numbering
from kernel.lease import LeaderLease
from kernel.outbox import Relay
from kernel.process import run_process
from kernel.retention import Retention
from kernel.rpc.channels import open_channel
from kernel.rpc.server import Process, Service, serve
from kernel.rpc.tip import TipFollower
from kernel.rpc.tokens import JwksVerifier, ServiceTokens
from kernel.temporal import TemporalDelivery
from services.pool import tables
from services.pool.capacity import Capacity
from services.pool.closings import Closings
from services.pool.config import load
from services.pool.corrections import Corrections
from services.pool.decisions import Decisions
from services.pool.deposit_returns import DepositReturns
from services.pool.domain.collateral import UnpaidLimits
from services.pool.expiries import Expiries
from services.pool.liquidity import Deposits
from services.pool.market import ChainParameters, OraclePrices
from services.pool.open_policies import OpenPolicies
from services.pool.parts import Parts
from services.pool.projector import Projector
from services.pool.reconciliations import Reconciliations
from services.pool.risk import Risk, RiskWatch
from services.pool.servicer import PoolServicer
from services.pool.servicer_notifications import NotificationServicer
from services.pool.store_feed import LINES
from services.pool.valuation import Valuation
from services.pool.watch import Watchers
from services.pool.withdrawals import Withdrawals

MIGRATIONS = Path(__file__).parent / "migrations"


async def main() -> None:
    """Builds the service and serves until told to stop."""
    settings = load()
    await migrate(settings.database_url, "pool", MIGRATIONS)
    database = Database(settings.database_url)
    identity = open_channel(settings.identity_address)
    tokens = ServiceTokens.from_file(identity, "pool", settings.service_secret_file)
    gateway = open_channel(settings.chain_gateway_address, tokens)
    oracle = open_channel(settings.oracle_address, tokens)
    tip = TipFollower(gateway)
    limits = UnpaidLimits(settings.unpaid_quotes_per_principal, settings.unpaid_quotes_per_tier)
    parts = build_parts(database, gateway, oracle, tip, limits)
    watchers = Watchers(database)
    temporal = await Client.connect(settings.temporal_address, namespace=settings.temporal_namespace, lazy=True)
    relay = Relay(database, tables.Outbox, TemporalDelivery(temporal))
    await serve(
        Process(
            listen=settings.listen,
            metrics_port=settings.metrics_port,
            services=services(PoolServicer(parts), NotificationServicer(database, watchers)),
            verifier=JwksVerifier(identity),
            background=[tip.follow, relay.run, watchers.run, *_leaders(database, gateway, parts)],
            on_close=[gateway.close, oracle.close, identity.close, database.close],
        )
    )


def services(pool: PoolServicer, notifications: NotificationServicer) -> list[Service]:
    """What the process serves."""
    return [
        Service(
            pool_service_pb2.DESCRIPTOR.services_by_name["PoolService"],
            lambda server: pool_service_pb2_grpc.add_PoolServiceServicer_to_server(pool, server),
        ),
        Service(
            notification_service_pb2.DESCRIPTOR.services_by_name["NotificationService"],
            lambda server: notification_service_pb2_grpc.add_NotificationServiceServicer_to_server(
                notifications, server
            ),
        ),
    ]


def _leaders(database: Database, gateway: grpc.aio.Channel, parts: Parts) -> list[Callable[[], Awaitable[None]]]:
    """What one of several replicas does."""

    def lease(name: str) -> LeaderLease:
        return LeaderLease(database, tables.Lease, name)

    projector, projecting = Projector(database, gateway), lease("projector")
    watch, watching = RiskWatch(database, parts.parameters, parts.valuation, parts.risk), lease("risk")
    return [
        lambda: projecting.lead(projector.run),
        lambda: watching.lead(watch.run),
        Numbering(database, lease("numbering"), LINES).run,
        Closings(database, lease("closings")).run,
        Retention(database, lease("retention"), tables.Outbox, tables.Request, LINES).run,
    ]


def build_parts(
    database: Database,
    gateway: grpc.aio.Channel,
    oracle: grpc.aio.Channel,
    tip: TipFollower,
    limits: UnpaidLimits,
) -> Parts:
    """Everything that the servicer works with."""
    parameters = ChainParameters(gateway, tip)
    policies = OpenPolicies()
    expiries = Expiries(database, oracle, tip)
    valuation = Valuation(OraclePrices(oracle), Decisions(database, oracle), expiries, policies)
    risk = Risk(policies)
    deposits = Deposits(database, valuation, tip)
    return Parts(
        database=database,
        parameters=parameters,
        capacity=Capacity(database, parameters, limits),
        valuation=valuation,
        risk=risk,
        deposits=deposits,
        deposit_returns=DepositReturns(deposits, tip),
        withdrawals=Withdrawals(database, valuation, tip),
        corrections=Corrections(tip),
        reconciliations=Reconciliations(database, gateway),
    )


if __name__ == "__main__":
    run_process("pool", main())
