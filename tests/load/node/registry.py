"""What our contracts do when policies end and prices are published, in Python: results, and events as printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kernel.units import Token, payout
from services.chain_gateway.contracts import ORACLE, REGISTRY, VAULT, Contracts
from services.chain_gateway.stacks.clarity import (
    Bool,
    Buffer,
    ClarityValue,
    ListValue,
    ResponseErr,
    ResponseOk,
    Some,
    StandardPrincipal,
    StringAscii,
    TupleValue,
    UInt,
    serialize,
)
from tests.load.node import plan
from tests.load.node.plan import PlannedPolicy

ACTIVE, SETTLED, EXPIRED = range(3)
_NOT_ACTIVE: Final = UInt(3014)
_OUT_OF_THE_MONEY: Final = UInt(3022)
_OTHER_EXPIRATION: Final = UInt(3023)
_NOT_DUE: Final = UInt(3024)
_ROUND_EXISTS: Final = UInt(2005)
Event = dict[str, Any]


@dataclass
class Entry:
    """A policy as the registry keeps it."""

    policy: PlannedPolicy
    status: int = ACTIVE
    payout: int = 0
    btc_price: int = 0
    stx_price: int = 0
    settlement_burn_height: int = 0

    def value(self) -> TupleValue:
        """As `get-policy` answers it."""
        policy = self.policy
        numbers = {
            "tier": int(plan.TIER),
            "token": int(policy.token),
            "amount-sats": plan.AMOUNT_SATS,
            "strike-price-e8": policy.strike_usd_e8,
            "floor-price-e8": plan.FLOOR_USD_E8,
            "btc-price-e8": plan.BTC_PRICE_USD_E8,
            "stx-price-e8": plan.STX_PRICE_USD_E8 if policy.token is Token.STX else 0,
            "premium": plan.PREMIUM,
            "fee": plan.FEE,
            "quote-burn-height": plan.CREATION_BURN_HEIGHT,
            "quote-expiry-burn-height": plan.CREATION_BURN_HEIGHT + 6,
            "expiration-burn-height": policy.expiration_burn_height,
            "max-payout": policy.max_payout,
            "created-burn-height": plan.CREATION_BURN_HEIGHT,
            "grace-blocks": plan.GRACE_BLOCKS,
            "settlement-pause-counter": 0,
            "status": self.status,
            "payout": self.payout,
            "settlement-btc-price-e8": self.btc_price,
            "settlement-stx-price-e8": self.stx_price,
            "settlement-burn-height": self.settlement_burn_height,
        }
        named: dict[str, ClarityValue] = {
            "policy-id": Buffer(bytes.fromhex(policy.policy_id)),
            "holder": StandardPrincipal(policy.holder),
            "auto-settle": Bool(True),
        }
        return TupleValue(named | {name: UInt(number) for name, number in numbers.items()})


@dataclass
class Pool:
    """What the vault keeps of a token."""

    accounted: int
    locked: int
    fees: int


@dataclass
class Registry:
    """The state of the three contracts. Calls are trusted: nobody's signature is checked."""

    contracts: Contracts
    entries: dict[int, Entry]
    pools: dict[Token, Pool]
    rounds: dict[tuple[str, int], TupleValue] = field(default_factory=dict)
    latest: dict[str, TupleValue] = field(default_factory=dict)
    told: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def of_plan(cls, contracts: Contracts, due: int, late: int) -> Registry:
        """All planned policies open."""
        entries = {policy.onchain_id: Entry(policy) for policy in plan.planned(due, late)}
        pools = {}
        for token in Token:
            owned = [entry.policy.max_payout for entry in entries.values() if entry.policy.token is token]
            pools[token] = Pool(plan.accounted(due, late, token), sum(owned), plan.FEE * len(owned))
        return cls(contracts, entries, pools)

    def entry_bytes(self, number: int) -> bytes:
        """`(some entry)` in consensus form."""
        if number not in self.told:
            self.told[number] = serialize(Some(self.entries[number].value()))
        return self.told[number]

    def call(
        self, function: str, arguments: Sequence[ClarityValue], burn_height: int
    ) -> tuple[ClarityValue, list[Event]]:
        """The result of a public function, and its events in order."""
        if function == "expire-policies":
            return self._expire(arguments[0], arguments[1], burn_height)
        if function == "settle-policy":
            return self._settle_policy(arguments[0], arguments[1], burn_height)
        assert function == "publish-price", function
        return self._publish(arguments[0])

    def _publish(self, message: Any) -> tuple[ClarityValue, list[Event]]:
        feed, number = message["feed"].value, message["round"].value
        if (feed, number) in self.rounds:
            return ResponseErr(_ROUND_EXISTS), []
        before = self.latest.get(feed)
        newest = before is None or number > before["round"].value  # type: ignore[union-attr]
        self.rounds[feed, number] = message
        if newest:
            self.latest[feed] = message
        printed = {**message.fields, "topic": StringAscii("price-published"), "latest": Bool(newest)}
        return ResponseOk(Bool(newest)), [self._print(ORACLE, TupleValue(printed))]

    def _expire(self, ids: Any, receipt: Any, burn_height: int) -> tuple[ClarityValue, list[Event]]:
        events: list[Event] = []
        results, released = [], dict.fromkeys(Token, 0)
        for number in (item.value for item in ids.items):
            entry = self.entries[number]
            error = self._refusal(entry, receipt, burn_height)
            if error is None:
                events += self._end(number, entry, receipt, burn_height, released)
            else:
                events.append(self._log("policy-refused", {"id": UInt(number), "error": error}))
            answer = {"id": number, "status": entry.status, "error": 0 if error is None else error.value}
            results.append(TupleValue({name: UInt(value) for name, value in answer.items()}))
        events += [self._release(token, amount) for token, amount in released.items() if amount]
        return ResponseOk(ListValue(tuple(results))), events

    def _refusal(self, entry: Entry, receipt: Any, burn_height: int) -> UInt | None:
        if entry.status != ACTIVE:
            return _NOT_ACTIVE
        if entry.policy.expiration_burn_height != receipt["expiration-burn-height"].value:
            return _OTHER_EXPIRATION
        due = burn_height > entry.policy.expiration_burn_height + plan.GRACE_BLOCKS
        return None if due else _NOT_DUE

    def _end(
        self, number: int, entry: Entry, receipt: Any, burn_height: int, released: dict[Token, int]
    ) -> list[Event]:
        policy, paid = entry.policy, self._payout(entry, receipt)
        if paid:
            facts = {"activation": UInt(0), "receipt-burn-height": receipt["expiration-burn-height"]}
            return self._settle(number, entry, paid, receipt, facts, burn_height)
        self._close(number, entry, EXPIRED, receipt, burn_height)
        released[policy.token] += policy.max_payout
        return [
            self._log(
                "policy-expired",
                {**self._named(number, policy), "btc-price-e8": receipt["btc-price-e8"]},
            )
        ]

    def _settle_policy(self, given: Any, receipt: Any, burn_height: int) -> tuple[ClarityValue, list[Event]]:
        entry = self.entries[given.value]
        paid = self._payout(entry, receipt)
        if entry.status != ACTIVE or not paid:
            return ResponseErr(_NOT_ACTIVE if paid else _OUT_OF_THE_MONEY), []
        facts = {"activation": receipt["activation"], "receipt-burn-height": receipt["burn-height"]}
        return ResponseOk(UInt(paid)), self._settle(given.value, entry, paid, receipt, facts, burn_height)

    def _payout(self, entry: Entry, receipt: Any) -> int:
        prices = receipt["btc-price-e8"].value, receipt["stx-price-e8"].value
        policy = entry.policy
        terms = policy.token, plan.AMOUNT_SATS, policy.strike_usd_e8, plan.FLOOR_USD_E8
        return payout(*terms, *prices, policy.max_payout)

    def _settle(
        self, number: int, entry: Entry, paid: int, receipt: Any, facts: dict[str, Any], burn_height: int
    ) -> list[Event]:
        policy, pool = entry.policy, self.pools[entry.policy.token]
        pool.accounted -= paid
        pool.locked -= policy.max_payout
        entry.payout = paid
        self._close(number, entry, SETTLED, receipt, burn_height)
        prices = {name: receipt[name] for name in ("btc-price-e8", "stx-price-e8", "observed-at")}
        released = {"payout": UInt(paid), "released": UInt(policy.max_payout - paid)}
        return [
            self._transfer(policy, paid),
            self._moved("payout", policy.token, {"payout": UInt(paid), "collateral": UInt(policy.max_payout)}),
            self._log("policy-settled", {**self._named(number, policy), **prices, **released, **facts}),
        ]

    def _close(self, number: int, entry: Entry, status: int, receipt: Any, burn_height: int) -> None:
        self.told.pop(number, None)
        entry.status, entry.settlement_burn_height = status, burn_height
        entry.btc_price, entry.stx_price = receipt["btc-price-e8"].value, receipt["stx-price-e8"].value

    def _release(self, token: Token, amount: int) -> Event:
        self.pools[token].locked -= amount
        return self._moved("collateral-released", token, {"collateral": UInt(amount)})

    def _named(self, number: int, policy: PlannedPolicy) -> dict[str, ClarityValue]:
        return {
            "id": UInt(number),
            "policy-id": Buffer(bytes.fromhex(policy.policy_id)),
            "holder": StandardPrincipal(policy.holder),
            "token": UInt(policy.token),
            "max-payout": UInt(policy.max_payout),
        }

    def _moved(self, topic: str, token: Token, amounts: dict[str, ClarityValue]) -> Event:
        pool = self.pools[token]
        sums = {"accounted": UInt(pool.accounted), "locked": UInt(pool.locked)}
        printed = {"topic": StringAscii(topic), "token": UInt(token), **amounts, **sums}
        return self._print(VAULT, TupleValue(printed))

    def _log(self, topic: str, fields: dict[str, Any]) -> Event:
        return self._print(REGISTRY, TupleValue({"topic": StringAscii(topic), **fields}))

    def _print(self, contract: str, value: TupleValue) -> Event:
        hexed = {"hex": "0x" + serialize(value).hex()}
        log = {"contract_id": self.contracts.principal(contract).text, "topic": "print", "value": hexed}
        return {"event_type": "smart_contract_log", "contract_log": log}

    def _transfer(self, policy: PlannedPolicy, amount: int) -> Event:
        of_stx = policy.token is Token.STX
        asset = {
            "asset_event_type": "transfer",
            "asset_id": "" if of_stx else "sbtc-token",
            "sender": self.contracts.principal(VAULT).text,
            "recipient": policy.holder.text,
            "amount": str(amount),
        }
        return {"event_type": "stx_asset" if of_stx else "fungible_token_asset", "asset": asset}
