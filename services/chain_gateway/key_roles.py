"""Which backend keys are used for what now: by their state, and by what the contracts say at the tip."""

from __future__ import annotations

from kernel.database import Database
from kernel.errors import Unavailable
from services.chain_gateway import store_keys
from services.chain_gateway.contract_reads import ContractReads
from services.chain_gateway.contracts import PARAMETER
from services.chain_gateway.domain.key_rotation import KeyState
from services.chain_gateway.keys import Keys
from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.clarity import Bool, StandardPrincipal
from services.chain_gateway.state import StateFollower


class KeyRoles:
    """This process's keys among those of all replicas. States are read anew each time, for any replica changes them."""

    def __init__(self, database: Database, keys: Keys, reads: ContractReads, state: StateFollower) -> None:
        self._database = database
        self._keys = keys
        self._reads = reads
        self._state = state
        self._declared = False
        # Per account: the tip at which the contract was asked, and its answer.
        self._principals: dict[str, tuple[str, bool]] = {}

    async def takes_work(self, address: str) -> bool:
        """Whether a key of this process may take new work; Unavailable while no node says what the contract knows.

        The key that pays users' fees always may: it is no backend principal and does not rotate. A state may change
        right after: who gives out work asks `store_keys.takes_work` in that transaction as well.
        """
        if address == self._keys.sponsor:
            return True
        state = (await self._states()).get(address)
        return state is not None and state.takes_work and await self.is_chain_principal(address)

    async def preferred(self) -> str:
        """The account that signs quotes and vouchers; Unavailable while there is none whose signature would count."""
        for address, state in (await self._states()).items():
            if state is KeyState.PREFERRED:
                if await self.is_chain_principal(address):
                    return address
                raise Unavailable("KEY_NOT_PRINCIPAL", "the parameter contract does not know the preferred key")
        raise Unavailable("NO_PREFERRED_KEY", "this process does not hold the preferred key")

    async def is_chain_principal(self, address: str) -> bool:
        """Whether the `parameter` contract knows an account as a backend principal, asked once per tip."""
        tip = self._state.snapshot.row.index_hash
        kept = self._principals.get(address)
        if kept is None or kept[0] != tip:
            who = StandardPrincipal(parse_address(address))
            kept = (tip, await self._reads.call(PARAMETER, "is-backend-principal", who) == Bool(True))
            self._principals[address] = kept
        return kept[1]

    def holds(self, address: str) -> bool:
        """Whether this process can sign with a key."""
        return address in self._keys.backend

    async def declare(self) -> None:
        """Makes this process's keys known to all replicas, once."""
        if not self._declared:
            async with self._database.transaction() as session:
                await store_keys.declare(session, self._keys.backend)
            self._declared = True

    async def _states(self) -> dict[str, KeyState]:
        await self.declare()
        states = await store_keys.states(self._database)
        return {address: state for address, state in states.items() if self.holds(address)}
