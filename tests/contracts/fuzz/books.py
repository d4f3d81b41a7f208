"""The model of the money: what everybody owns and every policy is, by the events alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.contracts.chain import ACTIVE, EXPIRED, SBTC, SETTLED, STX, Terms, plain
from tests.contracts.fuzz.violation import require
from tests.contracts.vm import Event


@dataclass
class Pool:
    """The vault's three sums of a token."""

    accounted: int = 0
    locked: int = 0
    fees: int = 0


@dataclass
class Books:
    """Balances follow the VM's transfer events, sums and policies the contracts' own: each checks the other."""

    owned: dict[tuple[str, int], int]
    pools: dict[int, Pool] = field(default_factory=lambda: {STX: Pool(), SBTC: Pool()})
    policies: dict[int, Terms] = field(default_factory=dict)
    policy_ids: dict[bytes, int] = field(default_factory=dict)
    used_vouchers: set[bytes] = field(default_factory=set)
    waiting: dict[bytes, tuple[int, Terms]] = field(default_factory=dict)
    withdrawn: Counter[tuple[int, int]] = field(default_factory=Counter)
    issued: Counter[tuple[int, int]] = field(default_factory=Counter)
    rounds: dict[tuple[str, int], Terms] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def open_policies(self, token: int) -> list[int]:
        """The ids of a token's open policies."""
        return [n for n, one in self.policies.items() if one["status"] == ACTIVE and one["token"] == token]

    def book(self, events: Sequence[Event]) -> None:
        """Enters what a successful call did."""
        for event in events:
            if event.kind in ("stx_transfer_event", "ft_transfer_event"):
                self._move(STX if event.kind.startswith("stx") else SBTC, event.data)
            elif event.value is not None:
                told = plain(event.value)
                if isinstance(told, dict) and "topic" in told:
                    self.seen[told["topic"]] += 1
                    self._enter(told.pop("topic"), told)

    def _move(self, token: int, transfer: Mapping[str, Any]) -> None:
        amount = int(transfer["amount"])
        for who, change in ((transfer["sender"], -amount), (transfer["recipient"], amount)):
            key = (str(who), token)
            require(key in self.owned, f"money moved to or from a stranger: {who}")
            self.owned[key] += change
            require(self.owned[key] >= 0, f"{who} paid more than they have")

    def _enter(self, topic: str, told: Terms) -> None:
        pool = self.pools.get(told.get("token", 0), Pool())
        match topic:
            case "deposit":
                pool.accounted += told["amount"]
            case "withdrawal":
                pool.accounted -= told["amount"]
            case "fees-withdrawn":
                pool.accounted -= told["amount"]
                pool.fees -= told["amount"]
            case "collateral-locked":
                pool.accounted += told["premium"] + told["fee"]
                pool.fees += told["fee"]
                pool.locked += told["collateral"]
            case "payout":
                pool.accounted -= told["payout"]
                pool.locked -= told["collateral"]
            case "collateral-released":
                pool.locked -= told["collateral"]
            case "policy-created":
                self._created(told)
            case "policy-settled":
                self._ended(told, SETTLED, told["payout"])
            case "policy-expired":
                self._ended(told, EXPIRED, 0)
        if "locked" in told:
            require(told["locked"] == pool.locked, f"{topic} tells another locked sum")
        if "accounted" in told:
            require(told["accounted"] == pool.accounted, f"{topic} tells another accounted sum")

    def _created(self, told: Terms) -> None:
        number = told.pop("id")
        require(number == len(self.policies) + 1, f"policy {number} is not the next one")
        require(told["policy-id"] not in self.policy_ids, "a policy id was used twice")
        self.policies[number] = told
        self.policy_ids[told["policy-id"]] = number

    def _ended(self, told: Terms, status: int, payout: int) -> None:
        entry = self.policies[told["id"]]
        require(entry["status"] == ACTIVE, f"policy {told['id']} ended twice")
        require(told["max-payout"] == entry["max-payout"] >= payout, "another collateral, or a payout above it")
        entry |= {"status": status, "payout": payout}
