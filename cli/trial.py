"""One provider and one holder on a running stack, for whoever wants to see a policy in Temporal's pages."""

from __future__ import annotations

import secrets
from typing import Final

from bithedge.oracle.v1 import oracle_service_pb2, oracle_service_pb2_grpc
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as policy_service
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.type.v1 import money_pb2, price_pb2
from rich.console import Console

from cli.look import tokens, usd
from deploy.demo.market import DemoError, eventually
from deploy.demo.people import Person, sign_in
from deploy.demo.plan import FAUCET, SBTC, STX, deposit_call
from deploy.devnet.driver import DevnetClient
from deploy.local.keys import LocalKeys
from deploy.local.layout import Layout
from deploy.wallet.driver import Wallet
from kernel.rpc.channels import open_channel, remote_errors

_USD: Final = 100_000_000
_DEPOSIT_SATS: Final = 500_000_000
_PROTECTED_SATS: Final = 10_000_000
_DURATION_BLOCKS: Final = 144
# Burn blocks come every ten seconds at the local stack's speed; a step needs two or three.
_WAIT_SECONDS: Final = 120.0


class Trial:
    """Deposits, then buys a policy whose strike is just below the price."""

    def __init__(self, console: Console, layout: Layout, keys: LocalKeys) -> None:
        self._console = console
        self._layout = layout
        self._keys = keys

    async def run(self) -> None:
        """Returns when the policy is ACTIVE; DemoError if a step does not come about."""
        async with Wallet(self._layout.node_url) as wallet, DevnetClient(self._layout.node_url) as devnet:
            provider = await self._person("trial-provider", wallet, devnet)
            holder = await self._person("trial-holder", wallet, devnet)
            await self._deposit(provider, devnet)
            policy = await self._buy(holder)
        identifier = policy.name.removeprefix("policies/")
        page = f"{self._layout.temporal_ui}/namespaces/default/workflows/create%2F{identifier}"
        self._console.print(f"{policy.name} is ACTIVE; its workflow: {page}", soft_wrap=True)

    async def _person(self, name: str, wallet: Wallet, devnet: DevnetClient) -> Person:
        person = await sign_in(name, self._keys.seed(name), wallet, self._layout)
        for txid in (
            await devnet.faucet_stx(person.principal, FAUCET[STX]),
            await devnet.faucet_sbtc(person.principal, FAUCET[SBTC]),
        ):
            await devnet.wait_for(txid, _WAIT_SECONDS)
        self._console.print(f"{name} {person.principal} has signed in and has funds")
        return person

    async def _deposit(self, provider: Person, devnet: DevnetClient) -> None:
        async def has_shares() -> bool:
            positions = (await provider.services.pool.ListPositions(pool_pb2.ListPositionsRequest())).positions
            return any(position.shares > 0 and position.token == SBTC for position in positions)

        if not await has_shares():
            prepared = await provider.prepare_deposit(deposit_call(money_pb2.TIER_BALANCED, SBTC, _DEPOSIT_SATS))
            await devnet.wait_for(f"0x{await provider.submit_through_us(prepared)}", _WAIT_SECONDS)
        await eventually(has_shares, "the deposit has its shares", _WAIT_SECONDS)
        self._console.print("the pool has capital")

    async def _buy(self, holder: Person) -> policy_pb2.Policy:
        terms = await self._terms()
        name = await self._create(holder, terms)
        pending = await eventually(lambda: _signable(holder, name), "the transaction to sign", _WAIT_SECONDS)
        self._console.print(
            f"{name}: strike {usd(terms.strike_price_usd_e8)}, floor {usd(terms.floor_price_usd_e8)}, "
            f"premium {tokens(pending.premium)}, pays at most {tokens(pending.max_payout)}",
            soft_wrap=True,
        )
        await holder.submit_to_node(pending.prepared_transaction)
        policy: policy_pb2.Policy = await eventually(
            lambda: _active(holder, name), "the policy is ACTIVE", _WAIT_SECONDS
        )
        return policy

    async def _create(self, holder: Person, terms: policy_service.PolicyTerms) -> str:
        stub = holder.services.policy
        with remote_errors():
            quote = (await stub.GetQuote(policy_service.GetQuoteRequest(terms=terms))).quote
            limit = money_pb2.TokenAmount(token=SBTC, base_units=2 * (quote.premium.base_units + quote.fee.base_units))
            request = policy_service.CreatePolicyRequest(
                request_id=f"trial/{secrets.token_hex(8)}",
                terms=terms,
                max_premium=limit,
                public_key=holder.public_key,
            )
            return str((await stub.CreatePolicy(request)).policy.name)

    async def _terms(self) -> policy_service.PolicyTerms:
        async with open_channel(self._layout.address("oracle")) as channel:
            request = oracle_service_pb2.GetPriceRequest(feed=price_pb2.FEED_BTC_USD)
            with remote_errors():
                answer = await oracle_service_pb2_grpc.OracleServiceStub(channel).GetPrice(request)
        spot = answer.price.price_usd_e8
        return policy_service.PolicyTerms(
            protected_amount_sats=_PROTECTED_SATS,
            strike_price_usd_e8=spot * 97 // 100 // _USD * _USD,
            floor_price_usd_e8=spot * 65 // 100 // _USD * _USD,
            settlement_token=SBTC,
            duration_blocks=_DURATION_BLOCKS,
        )


async def _policy(holder: Person, name: str) -> policy_pb2.Policy:
    policy: policy_pb2.Policy = (
        await holder.services.policy.GetPolicy(policy_service.GetPolicyRequest(name=name))
    ).policy
    if policy.state == policy_pb2.POLICY_STATE_FAILED_CREATION:
        raise DemoError(f"{name} is refused: {policy.reason}")
    return policy


async def _signable(holder: Person, name: str) -> policy_pb2.Policy | None:
    policy = await _policy(holder, name)
    return policy if policy.HasField("prepared_transaction") else None


async def _active(holder: Person, name: str) -> policy_pb2.Policy | None:
    policy = await _policy(holder, name)
    return policy if policy.state == policy_pb2.POLICY_STATE_ACTIVE else None
