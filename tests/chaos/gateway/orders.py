"""What the gateway is asked for: publications, settlements and expiries, each of which can succeed exactly once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2

from services.chain_gateway.contract_calls import backend_call
from services.chain_gateway.stacks.clarity import serialize
from tests.chaos.gateway.scene import FALLEN_PRICE_USD_E8, Policy, Scene
from tests.integration.chain_gateway.world import USD

_FIRST_ROUND: Final = 3
_SETTLED_ROUND: Final = 2
# Prices stay within 2% of each other: no order of the rounds, whatever forks make of it, meets the bound on jumps.
_SPREAD_BPS: Final = 100


@dataclass(frozen=True)
class Order:
    """An intent to be: its key, its call, and how the chain shows that call (arguments in hexadecimal)."""

    key: str
    call: pb.ContractCall
    function: str
    arguments: tuple[str, ...]
    onchain_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Mix:
    """How many intents of each kind. An expiry ends several policies."""

    settlements: int
    expiries: int
    publications: int
    expired_policies: int

    @classmethod
    def of(cls, intents: int) -> Mix:
        """A tenth settlements, a twentieth expiries of two policies each, and publications."""
        settlements, expiries = intents // 10, intents // 20
        return cls(settlements, expiries, intents - settlements - expiries, 2 * expiries)

    @property
    def policies(self) -> int:
        """Policies that must be there."""
        return self.settlements + self.expired_policies


def orders_of(scene: Scene, mix: Mix, seed: int) -> list[Order]:
    """The intents in the order in which they are asked for."""
    chance = random.Random(f"{seed}/orders")
    settled, expired = scene.policies[: mix.settlements], scene.policies[mix.settlements :]
    calls = [
        *(pb.ContractCall(settle_policy=_settlement(scene, policy)) for policy in settled),
        *(pb.ContractCall(expire_policies=_expiry(scene, pair)) for pair in _pairs(expired)),
        *(pb.ContractCall(publish_price=call) for call in _publications(scene, mix.publications, chance)),
    ]
    chance.shuffle(calls)
    return [_order(scene, f"chaos/{seed}/{number}", call) for number, call in enumerate(calls)]


def _order(scene: Scene, key: str, call: pb.ContractCall) -> Order:
    allowed, signed = backend_call(scene.contracts, call)
    arguments = tuple(serialize(argument).hex() for argument in signed.payload.arguments)
    ids: tuple[int, ...] = ()
    if call.HasField("settle_policy"):
        ids = (call.settle_policy.onchain_id,)
    elif call.HasField("expire_policies"):
        ids = tuple(call.expire_policies.onchain_ids)
    return Order(key, call, f"{allowed.contract}.{allowed.function}", arguments, ids)


def _settlement(scene: Scene, policy: Policy) -> pb.SettlePolicyCall:
    return pb.SettlePolicyCall(
        onchain_id=policy.onchain_id,
        receipt=scene.activation(policy),
        btc_round=_SETTLED_ROUND,
        stx_round=_SETTLED_ROUND,
        max_payout=_money(policy.token, policy.max_payout),
    )


def _pairs(policies: Sequence[Policy]) -> Iterator[Sequence[Policy]]:
    return (policies[start : start + 2] for start in range(0, len(policies), 2))


def _expiry(scene: Scene, policies: Sequence[Policy]) -> pb.ExpirePoliciesCall:
    totals: dict[int, int] = {}
    for policy in policies:
        totals[policy.token] = totals.get(policy.token, 0) + policy.max_payout
    return pb.ExpirePoliciesCall(
        onchain_ids=[policy.onchain_id for policy in policies],
        receipt=scene.expiry(policies[0].expiration_burn_height),
        max_payouts=[_money(token, total) for token, total in sorted(totals.items())],
    )


def _publications(scene: Scene, count: int, chance: random.Random) -> Iterator[pb.PublishPriceCall]:
    for index in range(count):
        feed, base = ((price_pb2.FEED_BTC_USD, FALLEN_PRICE_USD_E8), (price_pb2.FEED_STX_USD, USD))[index % 2]
        price = base * (10_000 + chance.randint(-_SPREAD_BPS, _SPREAD_BPS)) // 10_000
        yield pb.PublishPriceCall(round=scene.round(feed, _FIRST_ROUND + index // 2, price))


def _money(token: int, amount: int) -> money_pb2.TokenAmount:
    return money_pb2.TokenAmount(token=money_pb2.Token.ValueType(token), base_units=amount)
