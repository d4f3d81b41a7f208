"""Every public function by everybody: admitted, or refused with the exact error; and nobody is forgotten."""

from __future__ import annotations

import pytest

from tests.contracts.access import CALLERS, RULES, THROUGH, Rule, started
from tests.contracts.chain import REGISTRY, STX, VAULT, Chain, refused
from tests.contracts.interface import public_functions
from tests.contracts.vm import VM
from tests.contracts.vouchers import voucher, withdraw


def test_every_public_function_has_its_rule(chain: Chain) -> None:
    """The VM's own list of public functions is the table's: a new function has no access until it is listed."""
    found = [(one.contract, one.name) for one in public_functions(chain.vm)]
    assert [(one.contract, one.function) for one in RULES] == found


@pytest.mark.parametrize("rule", RULES, ids=lambda one: str(one.function))
def test_access(vm: VM, rule: Rule) -> None:
    """Who is not named is refused with the function's own error and without effect, who is named is admitted."""
    cast = started(vm)
    for caller in sorted((*CALLERS, THROUGH), key=rule.answer, reverse=True):
        result = cast.call(caller, rule, STX)
        answer = 0 if result.ok else refused(result)
        assert answer == rule.answer(caller), f"{rule.function} by {caller}"


def test_what_a_former_backend_signs_is_worthless(vm: VM) -> None:
    """Quotes and vouchers need the signature of a backend of now."""
    cast = started(vm)
    chain = cast.chain
    quote = chain.sign(cast.former, "bithedge-quote", REGISTRY, chain.terms(STX))
    assert refused(chain.pay_quote(chain.holder, quote)) == 3009
    paper = chain.sign(cast.former, "bithedge-voucher", VAULT, voucher(chain, STX, 1).message)
    assert refused(withdraw(chain, paper)) == 4016
