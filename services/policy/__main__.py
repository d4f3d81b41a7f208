"""Runs the policy service: builds every part and connects it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
from bithedge.policy.v1 import policy_service_pb2, policy_service_pb2_grpc
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
from services.policy.config import Settings, settings
from services.policy.creation import Creation
from services.policy.exercise import Exercise
from services.policy.expiry import Batches, Sweeper
from services.policy.feeds import Feeds
from services.policy.healing import Healing
from services.policy.judge import Judge
from services.policy.launcher import TemporalLauncher
from services.policy.listing import Listing
from services.policy.noticing import Noticer
from services.policy.projector import Projector
from services.policy.reading import Reading
from services.policy.servicer import Parts, PolicyServicer
from services.policy.sources import Sources
from services.policy.store_feed import LINES
from services.policy.store_projection import Stream
from services.policy.tables import SCHEMA, Lease, Outbox, Request
from services.policy.watch import Watchers

MIGRATIONS = Path(__file__).parent / "migrations"
CLIENT = "policy"


async def main() -> None:
    """Serves until told to stop."""
    given = settings()
    await migrate(given.database_url, SCHEMA, MIGRATIONS)
    temporal = await Client.connect(given.temporal_address, namespace=given.temporal_namespace, lazy=True)
    await serve(_process(given, temporal))


def _process(given: Settings, temporal: Client) -> Process:
    database = Database(given.database_url)
    identity = open_channel(given.identity_address)
    tokens = ServiceTokens.from_file(identity, CLIENT, given.service_secret_file)
    gateway = open_channel(given.chain_gateway_address, tokens)
    oracle, pool = open_channel(given.oracle_address, tokens), open_channel(given.pool_address, tokens)
    tips = TipFollower(gateway)
    sources = Sources(oracle, pool, gateway, tips)
    watchers = Watchers(database, sources.burn_height)
    reading = Reading(database, sources, watchers)
    relay = Relay(database, Outbox, TemporalDelivery(temporal))
    servicer = PolicyServicer(
        Parts(
            Creation(database, sources, TemporalLauncher(temporal), given.vault),
            Exercise(database, sources),
            Batches(database),
            reading,
            Listing(database, reading),
            Feeds(database, reading, watchers),
            sources,
            Healing(database, gateway, given.vault),
        )
    )
    return Process(
        listen=given.listen,
        metrics_port=given.metrics_port,
        services=[_service(servicer)],
        verifier=JwksVerifier(identity),
        background=[
            tips.follow,
            watchers.run,
            relay.run,
            Judge(database, sources).run,
            *_leaders(given, database, sources, gateway),
        ],
        on_close=[channel.close for channel in (identity, gateway, oracle, pool)] + [database.close],
    )


def _leaders(
    given: Settings, database: Database, sources: Sources, gateway: grpc.aio.Channel
) -> list[Callable[[], Awaitable[None]]]:
    """What one of several replicas does."""

    def lease(name: str) -> LeaderLease:
        return LeaderLease(database, Lease, name)

    return [
        Sweeper(database, lease("sweeper"), given.expiry_batches_at_once).run,
        Numbering(database, lease("numbering"), LINES).run,
        Noticer(database, sources, lease("noticer")).run,
        Retention(database, lease("retention"), Outbox, Request, LINES).run,
        *(Projector(database, gateway, stream, lease(f"projector {stream}"), given.vault).run for stream in Stream),
    ]


def _service(servicer: PolicyServicer) -> Service:
    descriptor = policy_service_pb2.DESCRIPTOR.services_by_name["PolicyService"]
    return Service(
        descriptor, lambda server: policy_service_pb2_grpc.add_PolicyServiceServicer_to_server(servicer, server)
    )


if __name__ == "__main__":
    run_process(CLIENT, main())
