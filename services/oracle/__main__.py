"""The oracle process: `python -m services.oracle`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import grpc
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.oracle.v1 import oracle_service_pb2_grpc as grpc_api
from temporalio.client import Client

from kernel.database import Database, migrate
from kernel.lease import LeaderLease
from kernel.outbox import Relay
from kernel.process import run_process
from kernel.rpc.channels import open_channel
from kernel.rpc.server import Background, Process, Service, serve
from kernel.rpc.tip import TipFollower
from kernel.rpc.tokens import JwksVerifier, ServiceTokens
from kernel.temporal import TemporalDelivery
from services.oracle import config, tables
from services.oracle.answers import PriceAnswers
from services.oracle.burn_blocks import BurnBlocks
from services.oracle.chain_requests import ChainRequests
from services.oracle.feeds import PriceSource
from services.oracle.feeds.live.configuration import load_sources
from services.oracle.feeds.replay.exchanges import ReplayedPrices
from services.oracle.history import PriceHistory
from services.oracle.observer import ObservationRules, Observer
from services.oracle.onchain import OnchainCheck
from services.oracle.publisher import Publisher
from services.oracle.receipts import Receipts
from services.oracle.retention import Retention
from services.oracle.servicer import OracleServicer
from services.oracle.signing import ContractAddress, OracleSigner, read_key_file
from services.oracle.watch import RoundWatch

MIGRATIONS = Path(__file__).with_name("migrations")


async def main() -> None:
    """Builds everything and serves until told to stop."""
    settings = config.settings()
    signer = oracle_signer(settings)
    identity = open_channel(settings.identity_address)
    tokens = ServiceTokens.from_file(identity, "oracle", settings.service_secret_file)
    gateway = open_channel(settings.chain_gateway_address, tokens)
    database, tip = Database(settings.database_url), TipFollower(gateway)
    source, follow_prices = price_source(settings, tip)
    await migrate(settings.database_url, "oracle", MIGRATIONS)
    burn_blocks = BurnBlocks(gateway, tip)
    lease = LeaderLease(database, tables.Lease, "aggregate")
    publisher = Publisher(database, lease, signer, settings.publication)
    rules = ObservationRules(
        settings.observation_seconds, settings.catch_up_seconds, settings.aggregation, settings.breaker
    )
    observer = Observer(database, lease, source, tip, burn_blocks, publisher, rules)
    rounds = RoundWatch(database)
    receipts = Receipts(database, signer, burn_blocks, settings.observation_seconds)
    requests_lease = LeaderLease(database, tables.Lease, "requests")
    requests = ChainRequests(database, requests_lease, gateway, receipts)
    answers = PriceAnswers(tip, settings.freshness)
    overrides = settings.overrides
    history = PriceHistory(database, source, tip, settings.observation_seconds)
    servicer = OracleServicer(database, tip, source, publisher, receipts, rounds, answers, overrides, history)
    temporal = await Client.connect(settings.temporal_address, namespace=settings.temporal_namespace, lazy=True)
    relay = Relay(database, tables.Outbox, TemporalDelivery(temporal))
    background = [tip.follow, *follow_prices, observer.run, rounds.run, relay.run, requests.follow, requests.answer]
    await serve(
        Process(
            settings.listen,
            settings.metrics_port,
            [oracle_service(servicer)],
            JwksVerifier(identity),
            background=[*background, *upkeep(settings, database, gateway, tip)],
            on_close=[gateway.close, identity.close, database.close],
        )
    )


def upkeep(
    settings: config.Settings, database: Database, gateway: grpc.aio.Channel, tip: TipFollower
) -> Sequence[Background]:
    """What looks after the past and after the chain, besides making prices."""
    lease = LeaderLease(database, tables.Lease, "retention")
    retention = Retention(database, lease, tip, settings.observation_retention_days)
    return OnchainCheck(database, gateway, tip, settings.onchain).run, retention.run


def oracle_signer(settings: config.Settings) -> OracleSigner:
    """The oracle key, for the contracts of one deployer on one chain."""
    deployer = ContractAddress(settings.contract_deployer, settings.network)
    return OracleSigner(read_key_file(settings.oracle_key_file), settings.chain_id, deployer)


def price_source(settings: config.Settings, tip: TipFollower) -> tuple[PriceSource, Sequence[Background]]:
    """Where prices come from, and what has to run for it."""
    if settings.price_data is not None and settings.price_source == "replay":
        return ReplayedPrices(settings.price_data, settings.replay_seed), ()
    sources = load_sources(settings.live_sources_file)
    # Imported only here: it loads ccxt, which costs a second and a hundred megabytes.
    from services.oracle.feeds.live.prices import LivePrices

    live = LivePrices(sources, settings.source_max_age_seconds, tip.now)
    return live, (live.run,)


def oracle_service(servicer: OracleServicer) -> Service:
    """OracleService for a process."""
    return Service(
        pb.DESCRIPTOR.services_by_name["OracleService"],
        lambda server: grpc_api.add_OracleServiceServicer_to_server(servicer, server),
    )


if __name__ == "__main__":
    run_process("oracle", main())
