"""The verdict: what was asked for, beside what the chain holds, what the gateway says of it, and what it streamed.

Nothing here asks anybody: it compares what was read, so that a test can show it something that is wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.chaos.gateway.chain import SUCCESS, ChainReading, EventRow, MinedTransaction, policy_event
from tests.chaos.gateway.ledger import CONFIRMED, ENDED_TRANSACTIONS, Answered, GatewayReading
from tests.chaos.gateway.orders import Order


@dataclass(frozen=True)
class Streams:
    """Where events are (block, transaction, number), oldest first: of consumers under fire, and of one that came
    afterwards. A final stream holds what is final, which at the end is everything."""

    tip: tuple[tuple[str, str, int], ...]
    final: tuple[tuple[str, str, int], ...]
    fresh: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class Verdict:
    """`effects`: successful calls on chain that were ordered. `wasted`: mined calls without an effect. `fillers`:
    transactions of our keys that only use a nonce. `differences`: each in one line."""

    intents: int
    effects: int
    gaps: int
    wasted: int
    fillers: int
    differences: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return self.effects == self.intents and self.gaps == 0 and not self.differences


def judge(
    orders: Sequence[Order], chain: ChainReading, gateway: GatewayReading, streams: Streams, stage_height: int
) -> Verdict:
    """Compares all of it. `stage_height`: what our keys sent up to this height was not the gateway's doing."""
    ours = [one for one in chain.transactions if one.sender in chain.waiting and one.stacks_height > stage_height]
    calls = {(order.function, order.arguments): order for order in orders}
    mined: defaultdict[str, list[MinedTransaction]] = defaultdict(list)
    differences: list[str] = []
    fillers = 0
    for one in ours:
        order = calls.get((one.function, one.arguments))
        if order is not None:
            mined[order.key].append(one)
        elif one.function == "token_transfer":
            fillers += 1
        else:
            differences.append(f"nobody ordered {one.function} in {one.txid}")
    effects = {key: [one for one in found if one.status == SUCCESS] for key, found in mined.items()}
    for order in orders:
        differences += _intent(order, effects.get(order.key, []), gateway.intents.get(order.key))
    differences += _policies(orders, chain.events)
    differences += _ledger(ours, gateway)
    differences += _left(chain)
    differences += _same("event table", gateway.events, chain.events)
    differences += _streams(streams, chain.events)
    return Verdict(
        intents=len(orders),
        effects=sum(map(len, effects.values())),
        gaps=_gaps(chain, gateway),
        wasted=sum(map(len, mined.values())) - sum(map(len, effects.values())),
        fillers=fillers,
        differences=tuple(differences),
    )


def _intent(order: Order, effects: Sequence[MinedTransaction], answer: Answered | None) -> list[str]:
    """One effect, and the gateway knows which."""
    found = [] if len(effects) == 1 else [f"{order.key} ({order.function}) has {len(effects)} effects"]
    if answer is None:
        return [*found, f"{order.key} is unknown to the gateway"]
    if answer.state != CONFIRMED:
        found.append(f"{order.key} ended as {answer.state} {answer.reason}".rstrip())
    if effects and answer.confirmed != (effects[0].txid,):
        found.append(f"{order.key} happened in {effects[0].txid}, the gateway says {answer.confirmed}")
    return found


def _policies(orders: Sequence[Order], events: Sequence[EventRow]) -> list[str]:
    """Each policy that was to be ended was ended once, and the registry refused none."""
    said = [policy_event(row) for row in events if row.contract == "policy-registry"]
    ended = Counter(number for topic, number in said if topic in ("policy-settled", "policy-expired"))
    found = [f"the registry refused policy {number}" for topic, number in said if topic == "policy-refused"]
    wanted = [number for order in orders for number in order.onchain_ids]
    return found + [f"policy {number} was ended {ended[number]} times" for number in wanted if ended[number] != 1]


def _ledger(ours: Sequence[MinedTransaction], gateway: GatewayReading) -> list[str]:
    """Each of our transactions on chain is in the gateway's book as it is on chain, and none is open or invented."""
    found = []
    by_txid = {one.txid: one for one in ours}
    for one in ours:
        row = gateway.transactions.get(one.txid)
        if row is None:
            found.append(f"{one.txid} is on chain and not in the gateway's book")
        elif (row.sender, row.nonce, row.state) != (one.sender, one.nonce, _end(one)):
            found.append(f"{one.txid} is {_end(one)} at nonce {one.nonce}, in the book {row.state} at {row.nonce}")
    for txid, row in gateway.transactions.items():
        if row.state not in ENDED_TRANSACTIONS:
            found.append(f"{txid} is still {row.state} in the book")
        elif row.state in ("CONFIRMED", "ABORTED") and txid not in by_txid:
            found.append(f"{txid} is {row.state} in the book and not on chain")
    return found


def _end(one: MinedTransaction) -> str:
    return "CONFIRMED" if one.status == SUCCESS else "ABORTED"


def _left(chain: ChainReading) -> list[str]:
    return [f"{address} has {nonces} waiting in the mempool" for address, nonces in chain.waiting.items() if nonces]


def _gaps(chain: ChainReading, gateway: GatewayReading) -> int:
    """Nonces below the highest known of an account that no canonical transaction has used."""
    gaps = 0
    for address, waiting in chain.waiting.items():
        used = [one.nonce for one in chain.transactions if one.sender == address]
        known = {*used, *waiting, *gateway.nonces.get(address, ())}
        gaps += len(set(range(max(known, default=-1) + 1)) - set(used))
    return gaps


def _same(what: str, found: Sequence[object], expected: Sequence[object]) -> list[str]:
    """Every missing, every additional element; and the order, when the elements are the same."""
    missing, more = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    lines = [f"{what}: {row} is missing" for row in missing.elements()]
    lines += [f"{what}: {row} is not on the chain" for row in more.elements()]
    if not lines and list(found) != list(expected):
        lines.append(f"{what}: the order is not that of the chain")
    return lines


def _streams(streams: Streams, events: Iterable[EventRow]) -> list[str]:
    places = [(row.block_hash, row.txid, row.event_index) for row in events]
    found = _same("consumer at the tip", streams.tip, places)
    found += _same("consumer of final events", streams.final, places)
    return found + _same("fresh consumer", streams.fresh, places)
