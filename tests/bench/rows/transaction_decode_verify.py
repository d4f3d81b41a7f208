"""Signed transactions decoded and verified per second by one process, beside `@stacks/transactions` in Node.

To verify is to recover the key from the signature and to compare its hash with the signer's, on both sides. The
transactions are those of `contract_call_build_sign`, each once; ours are bytes, theirs hex, as each likes best.
"""

from __future__ import annotations

import time

from services.chain_gateway.stacks.spending import SingleSigCondition
from services.chain_gateway.stacks.transaction import deserialize_transaction
from services.chain_gateway.stacks.transaction_signing import verify_transaction
from tests.bench.row import Row, at_least, of_samples
from tests.bench.stacks_library import signed_settlement, stacks_library
from tests.bench.workbench import Workbench

_COUNT = 1_500


async def measure(bench: Workbench) -> Row:
    """Ours and theirs in turns."""
    raws = [signed_settlement(nonce)[0] for nonce in range(_COUNT)]
    texts = [raw.hex() for raw in raws]
    async with stacks_library() as library:
        _, signer = await library.read(texts[:1])
        origin = deserialize_transaction(raws[0]).origin
        if not isinstance(origin, SingleSigCondition) or origin.signer.hex() != signer:
            raise AssertionError("the two sides read different transactions")

        async def ours() -> float:
            start = time.perf_counter()
            for raw in raws:
                verify_transaction(deserialize_transaction(raw))
            return _COUNT / (time.perf_counter() - start)

        async def yardstick() -> float:
            seconds, _ = await library.read(texts)
            return _COUNT / seconds

        return of_samples(*await bench.in_turns(ours, yardstick), "transactions/s", at_least(3.0))
