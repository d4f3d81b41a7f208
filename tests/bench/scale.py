"""Our services on two databases: one of a thousand policies, one of a million."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.type.v1 import money_pb2

from kernel.clock import wall_now
from kernel.ids import new_id
from services.identity.keys import load_key_set
from services.policy.convert_lists import page_token
from tests.bench.calls import Calls, calls_to, serialized
from tests.bench.processes import Identity, Metadata, running_identity, running_service
from tests.bench.workbench import Workbench
from tests.integration.policy import harness
from tests.load.covered import CREATED_WITHIN
from tests.load.policies import TIP
from tests.load.providers import CROWDED
from tests.load.seed import seed
from tests.postgres import create_database

SMALL, LARGE = (1_000, 100), (1_000_000, 100_000)
# So many different ones are asked for, at either size.
KEYS: Final = 1_000
# So many heights hold more than a page at either size.
_WINDOW: Final = 6_000
_MONTH: Final = 4_320
_POLICY: Final = "/bithedge.policy.v1.PolicyService"
_POOL: Final = "/bithedge.pool.v1.PoolService"
_OTHERS: Final = ("CHAIN_GATEWAY_ADDRESS", "ORACLE_ADDRESS", "POOL_ADDRESS", "TEMPORAL_ADDRESS")


@dataclass(frozen=True)
class Deposit:
    """Where a provider's shares changed, and when."""

    provider: str
    tier: int
    token: int
    burn_height: int


@dataclass(frozen=True)
class Keys:
    """What is asked for: ids, holders, providers, and their latest deposits, from all over a database."""

    ids: Sequence[str]
    holders: Sequence[str]
    providers: Sequence[str]
    deposits: Sequence[Deposit]


def _expiring(keys: Keys) -> list[Any]:
    windows = range(TIP, TIP + len(keys.ids))
    return [pb.ListExpiringPoliciesRequest(from_burn_height=low, to_burn_height=low + _WINDOW) for low in windows]


def _by_tier(keys: Keys) -> list[Any]:
    """The list from policies on that leave a whole page behind them at either size."""
    asked = pb.ListPoliciesRequest(states=[policy_pb2.POLICY_STATE_ACTIVE], tier=money_pb2.TIER_BALANCED)
    starts = sorted(keys.ids)[len(keys.ids) // 2 :]
    return [
        pb.ListPoliciesRequest(states=asked.states, tier=asked.tier, page_token=page_token(asked, one))
        for one in starts
    ]


def _of_a_month(keys: Keys) -> list[Any]:
    """A month in which the provider's shares changed; each time another."""
    ends = range(0, _MONTH, _MONTH // KEYS)
    return [
        pool_pb2.GetPeriodStatementRequest(
            provider_principal=one.provider,
            tier=one.tier,  # type: ignore[arg-type]
            token=one.token,  # type: ignore[arg-type]
            start_burn_height=min(one.burn_height + after, TIP) - _MONTH,
            end_burn_height=min(one.burn_height + after, TIP),
        )
        for one, after in zip(itertools.cycle(keys.deposits), ends, strict=False)
    ]


def _of_heights(keys: Keys) -> list[Any]:
    """Heights from all over the time in which policies were sold."""
    heights = range(TIP - CREATED_WITHIN, TIP, CREATED_WITHIN // KEYS)
    return [pool_pb2.GetPoolStatementRequest(burn_height=height) for height in heights]


# By name of the query: its method, and the requests for some keys.
QUERIES: Final[dict[str, tuple[str, Callable[[Keys], list[Any]]]]] = {
    "get": (f"{_POLICY}/GetPolicy", lambda keys: [pb.GetPolicyRequest(name=f"policies/{one}") for one in keys.ids]),
    "list by holder": (
        f"{_POLICY}/ListPolicies",
        lambda keys: [pb.ListPoliciesRequest(holder_principal=one) for one in keys.holders],
    ),
    "expiring between": (f"{_POLICY}/ListExpiringPolicies", _expiring),
    "active by tier": (f"{_POLICY}/ListPolicies", _by_tier),
    "statement": (
        f"{_POOL}/ListStatementLines",
        lambda keys: [pool_pb2.ListStatementLinesRequest(provider_principal=one) for one in keys.providers],
    ),
    "statement of a month": (f"{_POOL}/GetPeriodStatement", _of_a_month),
    "balances of a height": (f"{_POOL}/GetPoolStatement", _of_heights),
}


@dataclass(frozen=True)
class Platform:
    """Running services over one database."""

    addresses: dict[str, str]
    metadata: Metadata
    keys: Keys

    @asynccontextmanager
    async def query(self, name: str) -> AsyncIterator[Query]:
        """One of QUERIES, ready to be asked."""
        method, requests = QUERIES[name]
        async with self.asking(method, requests(self.keys)) as query:
            yield query

    @asynccontextmanager
    async def asking(self, method: str, requests: Iterable[Any]) -> AsyncIterator[Query]:
        """A method and what an operator asks."""
        service = "pool" if method.startswith(_POOL) else "policy"
        async with calls_to(self.addresses[service], method, self.metadata) as calls:
            yield Query(calls, serialized(requests))


@dataclass
class Query:
    """Requests of one query, asked one after the other, each sample others."""

    calls: Calls
    requests: Sequence[bytes]
    next: int = 0

    async def milliseconds(self, count: int) -> list[float]:
        """How long so many answers took, each alone."""
        taken = []
        for _ in range(count):
            request = self.requests[self.next % len(self.requests)]
            self.next += 1
            start = time.perf_counter()
            await self.calls.answer(request)
            taken.append((time.perf_counter() - start) * 1000)
        return taken


@asynccontextmanager
async def platforms(bench: Workbench, large: tuple[int, int] = LARGE) -> AsyncIterator[tuple[Platform, Platform]]:
    """The large platform and the small one, each with processes of its own on one Postgres."""
    async with AsyncExitStack() as stack:
        server_url = stack.enter_context(bench.postgres())
        identity = await stack.enter_async_context(running_identity(bench.folder, await create_database(server_url)))
        found = []
        for policies, providers in (large, SMALL):
            url, start = await create_database(server_url), time.monotonic()
            await seed(url, policies, providers)
            bench.say(f"{policies:,} policies and {providers:,} providers in {time.monotonic() - start:.0f} s")
            settings = dict.fromkeys(_OTHERS, "127.0.0.1:1") | {
                "DATABASE_URL": url,
                "IDENTITY_ADDRESS": identity.address,
                "CONTRACT_DEPLOYER": harness.OTHER,
            }
            addresses = {}
            for name in ("policy", "pool"):
                secret = {"SERVICE_SECRET_FILE": str(identity.keys.secret(name))}
                running = running_service(name, bench.folder, settings | secret)
                addresses[name] = await stack.enter_async_context(running)
            found.append(Platform(addresses, _as_operator(identity), await _keys(url)))
        yield found[0], found[1]


def _as_operator(identity: Identity) -> Metadata:
    """A token of the identity service's own key, as its sign-in issues them, that outlives the measurement."""
    now = wall_now()
    token = load_key_set(identity.keys.token_key, ()).issue(
        harness.OTHER, ["OPERATOR"], new_id(), now, now + dt.timedelta(hours=2)
    )
    return (("authorization", f"Bearer {token}"),)


async def _keys(url: str) -> Keys:
    """Keys at random, each at most once while there are enough."""
    connection = await asyncpg.connect(url)
    try:
        policies = await connection.fetch(
            "SELECT id, holder_principal FROM policy.policy WHERE random() < "
            f"{3 * KEYS}.0 / (SELECT count(*) FROM policy.policy) ORDER BY random() LIMIT {KEYS}"
        )
        providers = await connection.fetch(
            f"SELECT DISTINCT provider FROM pool.share_balance ORDER BY provider LIMIT {KEYS}"
        )
        deposits = await connection.fetch(
            "SELECT * FROM (SELECT DISTINCT ON (provider) provider, tier, token, burn_height FROM pool.deposit "
            "ORDER BY provider, burn_height DESC) AS latest "
            f"ORDER BY burn_height = {CROWDED} DESC, provider LIMIT {KEYS}"
        )
    finally:
        await connection.close()
    ids, holders = [row["id"] for row in policies], [row["holder_principal"] for row in policies]
    return Keys(ids, holders, [row["provider"] for row in providers], [Deposit(**row) for row in deposits])
