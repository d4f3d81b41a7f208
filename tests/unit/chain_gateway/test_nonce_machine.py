"""Random lives of one account: signed, lost, replaced, given up, mined, withdrawn, with strangers on the same key.

The model holds a chain, a mempool and what was signed, and decides by the domain's rules alone, as the stores do.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.chain_gateway.domain.confirmation import IntentState
from services.chain_gateway.domain.nonce import free_nonces, holes
from services.chain_gateway.domain.outcome import Attempt, Place, judge, loser_state

_ADDRESS = "ours"
_INDEX = st.integers(min_value=0, max_value=10**6)


@dataclass
class _Signed:
    """A transaction of ours. `open`: it has not ended; `current`: it is the one to be handed in."""

    txid: str
    nonce: int
    intent: int | None
    open: bool = True
    current: bool = True


class NonceMachine(RuleBasedStateMachine):
    """`chain` holds a txid per nonce; the first `final` of them are final."""

    def __init__(self) -> None:
        super().__init__()
        self.intents: dict[int, IntentState] = {}
        self.given_up: set[int] = set()
        self.signed: list[_Signed] = []
        self.mempool: set[str] = set()
        self.chain: list[str] = []
        self.final = 0
        self.ended_with: dict[int, IntentState] = {}

    def _sign(self, nonce: int, intent: int | None) -> None:
        self.signed.append(_Signed(f"{nonce}/{len(self.signed)}", nonce, intent))

    def _current(self) -> list[_Signed]:
        return [one for one in self.signed if one.open and one.current and one.nonce >= len(self.chain)]

    @rule()
    def ask(self) -> None:
        """Another intent is queued."""
        self.intents[len(self.intents)] = IntentState.QUEUED

    @rule(most=st.integers(min_value=1, max_value=8))
    def allocate(self, most: int) -> None:
        """The lowest free nonces go to what is queued, and holes to fillers."""
        occupied = {one.nonce for one in self._current()}
        abandoned = {one.nonce for one in self.signed if one.intent in self.given_up and not one.current}
        must_fill = holes(len(self.chain), occupied, abandoned)
        queued = [number for number, state in self.intents.items() if state is IntentState.QUEUED]
        for nonce in free_nonces(len(self.chain), occupied)[:most]:
            if queued:
                number = queued.pop(0)
                self.intents[number] = IntentState.SUBMITTED
                self._sign(nonce, number)
            elif nonce in must_fill:
                self._sign(nonce, None)
            else:
                break

    @rule(index=_INDEX)
    def deliver(self, index: int) -> None:
        """Whatever was ever signed may reach a mempool, now or again, replaced or given up or not."""
        if self.signed:
            self.mempool.add(self.signed[index % len(self.signed)].txid)

    @rule(index=_INDEX)
    def forget(self, index: int) -> None:
        """A mempool loses something."""
        if self.mempool:
            self.mempool.remove(sorted(self.mempool)[index % len(self.mempool)])

    @rule(index=_INDEX)
    def raise_fee(self, index: int) -> None:
        """The same call at the same nonce again; the one before may still be mined."""
        current = self._current()
        if current:
            one = current[index % len(current)]
            one.current = False
            self._sign(one.nonce, one.intent)

    @rule(index=_INDEX)
    def give_up(self, index: int) -> None:
        """Nodes refuse it for good: nothing more is signed for it, and its nonce is free."""
        current = [one for one in self._current() if one.intent is not None]
        if current:
            one = current[index % len(current)]
            assert one.intent is not None
            one.current = False
            self.given_up.add(one.intent)

    @rule()
    def stranger(self) -> None:
        """Somebody else with the same key has the next nonce."""
        self.chain.append(f"stranger {len(self.chain)}")

    @rule(index=_INDEX)
    def mine(self, index: int) -> None:
        """A block takes a transaction of the next nonce, whichever the miner has."""
        ready = sorted(one.txid for one in self.signed if one.nonce == len(self.chain) and one.txid in self.mempool)
        if ready:
            self.chain.append(ready[index % len(ready)])

    @rule(depth=st.integers(min_value=1, max_value=5))
    @precondition(lambda self: len(self.chain) > self.final)
    def fork(self, depth: int) -> None:
        """Blocks that are not final are withdrawn."""
        del self.chain[max(self.final, len(self.chain) - depth) :]

    @rule(count=st.integers(min_value=1, max_value=5))
    def finalize(self, count: int) -> None:
        """Blocks become final, and decide."""
        before, self.final = self.final, min(len(self.chain), self.final + count)
        final = {Place(_ADDRESS, nonce): self.chain[nonce] for nonce in range(before, self.final)}
        by_txid = {one.txid: one for one in self.signed if one.open}
        verdict = judge(
            [
                Attempt(one.txid, Place(_ADDRESS, one.nonce), str(one.intent), one.txid in self.chain)
                for one in by_txid.values()
            ],
            final,
        )
        for txid in verdict.won | verdict.lost:
            by_txid[txid].open = False
        for txid in verdict.won:
            self._end(by_txid[txid].intent, IntentState.CONFIRMED)
        for name in verdict.losers - {"None"}:
            self._lose(int(name))

    def _end(self, number: int | None, state: IntentState) -> None:
        if number is not None and not self.intents[number].ended:
            self.intents[number] = self.ended_with[number] = state

    def _lose(self, number: int) -> None:
        if self.intents[number].ended:
            return
        state = loser_state(number in self.given_up)
        if state is IntentState.CANCELLED:
            self._end(number, state)
        else:
            self.intents[number] = state

    @invariant()
    def one_effect_at_most(self) -> None:
        """No two transactions of an intent are ever in the chain at once."""
        mined = [one.intent for one in self.signed if one.txid in self.chain and one.intent is not None]
        assert len(mined) == len(set(mined))

    @invariant()
    def ends_are_true(self) -> None:
        """What ended CONFIRMED is in the final chain, what ended CANCELLED is not in the chain, and neither changes."""
        final = set(self.chain[: self.final])
        for number, state in self.ended_with.items():
            assert self.intents[number] is state
            txids = {one.txid for one in self.signed if one.intent == number}
            if state is IntentState.CONFIRMED:
                assert txids & final
            else:
                assert not txids & set(self.chain)

    def teardown(self) -> None:
        """When the storm is over, everything ends, and no nonce is missing."""
        for _ in range(4 * len(self.intents) + len(self.signed) + 40):
            self.allocate(8)
            self.mempool = {one.txid for one in self._current()}
            self.mine(0)
            self.finalize(5)
        assert all(state.ended for state in self.intents.values())
        assert len(self.chain) == self.final
        assert not holes(len(self.chain), {one.nonce for one in self._current()}, ())


TestNonceMachine = NonceMachine.TestCase
TestNonceMachine.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
