"""The pool service's process."""

from __future__ import annotations

from pathlib import Path

import grpc
from bithedge.pool.v1 import pool_service_pb2, pool_service_pb2_grpc
from temporalio.client import Client

from kernel.database import Database, migrate
from kernel.lease import LeaderLease
from kernel.outbox import Relay
from kernel.process import run_process
from kernel.rpc.channels import open_channel
from kernel.rpc.server import Process, Service, serve
from kernel.rpc.tip import TipFollower
from kernel.rpc.tokens import JwksVerifier, ServiceTokens
from kernel.temporal import TemporalDelivery
from services.pool import tables
from services.pool.capacity import Capacity
from services.pool.config import load
from services.pool.corrections import Corrections
from services.pool.decisions import Decisions
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
from services.pool.valuation import Valuation
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
    servicer = PoolServicer(parts)
    temporal = await Client.connect(settings.temporal_address, namespace=settings.temporal_namespace, lazy=True)
    relay = Relay(database, tables.Outbox, TemporalDelivery(temporal))
    projector, lease = Projector(database, gateway), LeaderLease(database, tables.Lease, "projector")
    watch = RiskWatch(database, parts.parameters, parts.valuation, parts.risk)
    watching = LeaderLease(database, tables.Lease, "risk")
    service = Service(
        pool_service_pb2.DESCRIPTOR.services_by_name["PoolService"],
        lambda server: pool_service_pb2_grpc.add_PoolServiceServicer_to_server(servicer, server),
    )
    await serve(
        Process(
            listen=settings.listen,
            metrics_port=settings.metrics_port,
            services=[service],
            verifier=JwksVerifier(identity),
            background=[tip.follow, relay.run, lambda: lease.lead(projector.run), lambda: watching.lead(watch.run)],
            on_close=[gateway.close, oracle.close, identity.close, database.close],
        )
    )


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
    return Parts(
        database=database,
        parameters=parameters,
        capacity=Capacity(database, parameters, limits),
        valuation=valuation,
        risk=risk,
        deposits=Deposits(database, valuation, tip),
        withdrawals=Withdrawals(database, valuation, tip),
        corrections=Corrections(tip),
        reconciliations=Reconciliations(database, gateway),
    )


if __name__ == "__main__":
    run_process("pool", main())
