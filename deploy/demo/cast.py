"""Everybody in the play: signed in with their own wallets, and given what they will pay with."""

from __future__ import annotations

from deploy.demo.people import sign_in
from deploy.demo.plan import FAUCET, POLICIES, PROVIDERS, SBTC, STX
from deploy.demo.scenario import Cast, Played
from deploy.devnet.driver import DevnetClient
from deploy.local.stack import Stack
from deploy.wallet.driver import Wallet


async def gather_cast(stack: Stack, devnet: DevnetClient, wallet: Wallet, repeat_seconds: float = 0.0) -> Cast:
    """The operator, the providers and a holder per policy; their calls are repeated for `repeat_seconds`."""
    layout, keys = stack.layout, stack.keys
    operator = await sign_in("operator", keys.seed("operator"), wallet, layout, repeat_seconds)
    names = [provider.name for provider in PROVIDERS] + [f"holder-{plan.scenario}" for plan in POLICIES]
    people = {name: await sign_in(name, keys.seed(name), wallet, layout, repeat_seconds) for name in names}
    txids = []
    for person in people.values():
        txids.append(await devnet.faucet_stx(person.principal, FAUCET[STX]))
        txids.append(await devnet.faucet_sbtc(person.principal, FAUCET[SBTC]))
    for txid in txids:
        await devnet.wait_for(txid)
    providers = {provider.name: people[provider.name] for provider in PROVIDERS}
    return Cast(operator, providers, [Played(plan, people[f"holder-{plan.scenario}"]) for plan in POLICIES])
