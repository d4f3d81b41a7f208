"""One chain with everybody who acts in the walks, and the models that judge what happens on it."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from services.chain_gateway.contract_reads import PLAIN_PARAMETERS
from tests.contracts.chain import (
    BTC,
    PARAMETER,
    SBTC,
    SOURCES,
    STX,
    STX_FEED,
    USD,
    VAULT,
    Actor,
    Chain,
    Principal,
    Signed,
)
from tests.contracts.fuzz.authority import Authority
from tests.contracts.fuzz.books import Books, Pool
from tests.contracts.interface import IN_BETWEEN, deploy_in_between
from tests.contracts.saved import Saved
from tests.contracts.vm import VM

HAIRCUTS: Final = {tier: f"{tier}.stx-haircut-bps" for tier in ("conservative", "balanced", "aggressive")}
# Small enough that a walk of some days meets them.
_SMALL: Final = {
    "withdrawal.max-per-day-stx": 2 * 10**10,
    "withdrawal.max-per-day-sbtc": 10**7,
    "withdrawal.delay-blocks": 12,
    "withdrawal.pause-max-blocks": 30,
    "settlement.pause-max-blocks": 20,
    "admin.delay-blocks": 3,
}
_DEPOSITS: Final = {STX: 10**12, SBTC: 10**9}
ACTORS: Final = ("stranger", "holder", "provider", "backend", "second", "former", "admin", "heir")


@dataclass
class Paper:
    """A signed message; `sound` says whether it was signed as it should be, by `signer`, for where it goes."""

    signed: Signed
    signer: Actor
    sound: bool = True


@dataclass
class World:
    """All that changes during a walk."""

    chain: Chain
    actors: dict[str, Actor]
    authority: Authority
    books: Books
    btc: int = 50_000 * USD
    stx: int = USD
    papers: dict[str, list[Paper]] = field(default_factory=dict)
    changes: list[tuple[str, list[Any]]] = field(default_factory=list)
    last_published: int = 0
    last_rounds: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)

    @property
    def vault(self) -> str:
        """The vault's principal."""
        return self.chain.vm.contract(VAULT)

    def actor_at(self, address: str, otherwise: str) -> Actor:
        """Whose address it is; somebody else when it is nobody's here."""
        return next((one for one in self.actors.values() if one.address == address), self.actors[otherwise])

    def backend(self, pick: int) -> Actor:
        """One of those who are a backend now; the usual one when nobody is."""
        now = [self.actors[one] for one in ("backend", "second", "former") if self._is_backend(one)]
        return now[pick % len(now)] if now else self.actors["backend"]

    def oracle(self, pick: int) -> Actor:
        """One of those whose key is an oracle key now."""
        known = [one for one in (self.chain.oracle, self.actors["heir"]) if one.public_key in self.authority.oracles]
        return known[pick % len(known)] if known else self.chain.oracle

    def _is_backend(self, name: str) -> bool:
        return self.actors[name].address in self.authority.backends


class Stage:
    """The market that every walk starts from, made once: deploying takes ten times as long as going back."""

    def __init__(self, vm: VM, sources: Path = SOURCES) -> None:
        chain = Chain(vm).start(sources)
        actors = {name: Actor(name) for name in ACTORS} | {"stranger": chain.stranger}
        for name in ("second", "former", "heir"):
            vm.mint_stx(actors[name].address, 10**15)
            vm.mint_sbtc(actors[name].address, 10**12)
        for function, who in (("add", "second"), ("add", "former"), ("remove", "former")):
            address = Principal(actors[who].address)
            chain.ok(chain.admin, PARAMETER, f"{function}-backend-principal", address)
        deploy_in_between(chain, chain.stranger)
        for token, amount in _DEPOSITS.items():
            chain.deposit(token, amount).expect()
        for name, value in _SMALL.items():
            chain.set(name, value)
        self._world = World(chain, actors, _authority(chain, actors), _books(chain, actors))
        self._saved = Saved(chain)

    def world(self) -> World:
        """A world at the start."""
        chain = self._saved.back()
        fresh = copy.copy(self._world)
        fresh.chain = chain
        fresh.authority, fresh.books = copy.deepcopy(self._world.authority), copy.deepcopy(self._world.books)
        fresh.papers, fresh.changes, fresh.seen, fresh.log, fresh.last_rounds = {}, [], Counter(), [], {}
        return fresh


def _authority(chain: Chain, actors: dict[str, Actor]) -> Authority:
    names = (*PLAIN_PARAMETERS, *HAIRCUTS.values())
    bounds = {name: chain.read(PARAMETER, "get-parameter-bounds", name) for name in names}
    return Authority(
        admin=chain.admin.address,
        backends={chain.backend.address, actors["second"].address},
        oracles={chain.oracle.public_key},
        values={name: chain.read(PARAMETER, "get-parameter", name) for name in names},
        bounds={name: (one["minimum"], one["maximum"]) for name, one in bounds.items()},
    )


def _books(chain: Chain, actors: dict[str, Actor]) -> Books:
    people = [one.address for one in actors.values()] + [chain.vm.contract(VAULT)]
    balances = {who: chain.vm.balance(who) for who in people}
    owned = {(who, STX): one.ustx for who, one in balances.items()}
    owned |= {(who, SBTC): one.sats for who, one in balances.items()}
    pools = {token: Pool(accounted=amount) for token, amount in _DEPOSITS.items()}
    return Books(owned, pools, heard=dict.fromkeys((BTC, STX_FEED), chain.height))


def through(chain: Chain) -> str:
    """The principal of the contract in between."""
    return chain.vm.contract(IN_BETWEEN)
