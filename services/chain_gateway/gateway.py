"""Puts the gateway's parts together; `__main__` and tests start what `build` answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
from bithedge.chain_gateway.v1 import backend_key_service_pb2 as keys_pb
from bithedge.chain_gateway.v1 import backend_key_service_pb2_grpc as keys_grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc

from kernel.database import Database
from kernel.lease import LeaderLease
from kernel.rpc.server import Process, Service
from kernel.rpc.tokens import TokenVerifier
from services.chain_gateway.allocation import Allocation
from services.chain_gateway.backend_keys import BackendKeys
from services.chain_gateway.block_push import BlockPush
from services.chain_gateway.broadcaster import Broadcaster
from services.chain_gateway.config import Settings
from services.chain_gateway.contract_reads import ContractReads
from services.chain_gateway.dispatcher import Dispatcher
from services.chain_gateway.domain.node_choice import HealthBounds
from services.chain_gateway.fee_raises import FeeRaises
from services.chain_gateway.fees import Fees
from services.chain_gateway.ingest import Ingest, IngestSettings
from services.chain_gateway.intent_batches import IntentBatches
from services.chain_gateway.intent_changes import IntentChanges
from services.chain_gateway.intents import Intents
from services.chain_gateway.key_roles import KeyRoles
from services.chain_gateway.keys import Keys
from services.chain_gateway.message_signing import MessageSigner
from services.chain_gateway.node_watch import NodeWatch
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.nonce_reconciliation import NonceReconciliation
from services.chain_gateway.preflight import Preflight
from services.chain_gateway.pulse import Pulse
from services.chain_gateway.servicer import ChainGatewayServicer
from services.chain_gateway.servicer_keys import BackendKeyServicer
from services.chain_gateway.signing import SigningPolicy
from services.chain_gateway.signing_authority import SigningAuthority, load_rules
from services.chain_gateway.sponsorship import SponsorLimits, Sponsorship
from services.chain_gateway.state import StateFollower
from services.chain_gateway.store_transactions import INTENT_CHANNEL
from services.chain_gateway.tables import Lease
from services.chain_gateway.transaction_watch import TransactionWatch
from services.chain_gateway.user_broadcasts import UserBroadcasts
from services.chain_gateway.wallet_transactions import WalletTransactions

MIGRATIONS: Final = Path(__file__).with_name("migrations")
_POOL_SIZE: Final = 10


@dataclass(frozen=True)
class Gateway:
    """The parts that others hold on to. Of several replicas one ingests, under a lease; all dispatch."""

    database: Database
    nodes: NodePool
    node_watch: NodeWatch
    push: BlockPush
    state: StateFollower
    pulse: Pulse
    changes: IntentChanges
    ingest: Ingest
    dispatcher: Dispatcher
    servicer: ChainGatewayServicer
    key_servicer: BackendKeyServicer
    ingest_lease: LeaderLease

    @property
    def background(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """What runs besides serving."""
        return (
            self.state.follow,
            self.pulse.follow,
            self.changes.run,
            self.node_watch.run,
            self.push.run,
            self._ingest,
            self.dispatcher.run,
        )

    async def _ingest(self) -> None:
        await self.dispatcher.declare()
        await self.ingest_lease.lead(self.ingest.run)

    def process(self, settings: Settings, verifier: TokenVerifier) -> Process:
        """The gRPC process around them."""
        services = [
            Service(
                pb.DESCRIPTOR.services_by_name["ChainGatewayService"],
                lambda server: pb_grpc.add_ChainGatewayServiceServicer_to_server(self.servicer, server),
            ),
            Service(
                keys_pb.DESCRIPTOR.services_by_name["BackendKeyService"],
                lambda server: keys_grpc.add_BackendKeyServiceServicer_to_server(self.key_servicer, server),
            ),
        ]
        return Process(settings.listen, settings.metrics_port, services, verifier, self.background)


def build(settings: Settings, keys: Keys, database: Database, http: aiohttp.ClientSession) -> Gateway:
    """All parts, not started. `database` is migrated already and, as `http`, closed by the caller."""
    contracts = settings.contracts()
    confirmations = settings.finality_burn_confirmations
    nodes = open_nodes(settings, http)
    push = BlockPush(http, settings.node_urls, settings.poll_interval_ms / 1000)
    state = StateFollower(database, confirmations)
    pulse = Pulse(database, INTENT_CHANNEL)
    fees = Fees(nodes, settings.fee_floor_ustx, settings.fee_cap_ustx, settings.sponsor_fee_cap_ustx)
    reads = ContractReads(nodes, contracts, state)
    roles = KeyRoles(database, keys, reads, state)
    authority = SigningAuthority(database, load_rules(settings.signing_policy_file))
    policy = SigningPolicy(contracts, keys, fees, authority, state)
    users = UserBroadcasts(database, nodes, confirmations)
    ingest_lease = LeaderLease(database, Lease, "ingest")
    messages = MessageSigner(database, contracts, keys, roles, authority, state, reads)
    changes = IntentChanges(database, pulse)
    intents = Intents(database, contracts, changes, IntentBatches(database, settings.queue_limit))
    limits = SponsorLimits(settings.sponsor_most_per_day) if settings.sponsor_signer else None
    sponsorship = Sponsorship(database, nodes, pulse, limits)
    wallets = WalletTransactions(database, nodes, contracts, fees, messages, users, sponsorship)
    transactions = TransactionWatch(database, nodes, contracts, state, pulse)
    return Gateway(
        database=database,
        nodes=nodes,
        node_watch=NodeWatch(nodes, keys.addresses, settings.node_watch_seconds),
        state=state,
        pulse=pulse,
        changes=changes,
        push=push,
        ingest=Ingest(database, nodes, contracts, ingest_lease, _ingest_settings(settings, keys), push.wait),
        dispatcher=_dispatcher(database, nodes, settings, keys, roles, policy, state, reads),
        servicer=ChainGatewayServicer(
            database, nodes, contracts, state, reads, intents, messages, wallets, transactions
        ),
        key_servicer=BackendKeyServicer(BackendKeys(database, roles)),
        ingest_lease=ingest_lease,
    )


def _dispatcher(
    database: Database,
    nodes: NodePool,
    settings: Settings,
    keys: Keys,
    roles: KeyRoles,
    policy: SigningPolicy,
    state: StateFollower,
    reads: ContractReads,
) -> Dispatcher:
    raises = FeeRaises(database, keys, policy)
    return Dispatcher(
        database,
        keys,
        roles,
        Allocation(database, policy, state, Preflight(nodes, reads, state)),
        Broadcaster(database, nodes, state, raises, settings.stuck_blocks),
        UserBroadcasts(database, nodes, settings.finality_burn_confirmations),
        NonceReconciliation(database, nodes, keys),
        from_genesis=settings.start_stacks_height == 1,
    )


def _ingest_settings(settings: Settings, keys: Keys) -> IngestSettings:
    return IngestSettings(
        settings.finality_burn_confirmations,
        settings.poll_interval_ms / 1000,
        settings.start_stacks_height,
        settings.market_clock == "devnet",
        keys.addresses,
    )


def open_nodes(settings: Settings, http: aiohttp.ClientSession) -> NodePool:
    """The nodes of the settings."""
    weights = [int(weight) for weight in settings.node_weights]
    bounds = HealthBounds(settings.node_lag_blocks, settings.node_tip_age_seconds)
    return NodePool.open(settings.node_urls, http, settings.node_timeout_seconds, weights, bounds)


def open_database(settings: Settings) -> Database:
    """The service's database; streams, ingestion and dispatch share its connections."""
    return Database(settings.database_url, _POOL_SIZE)
