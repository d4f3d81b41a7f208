"""The books of both services made again from the chain and from what is kept, beside those that the demo left."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from cli.rebuild import REBUILT, rebuild_books
from deploy.demo.plan import MARKET_START
from deploy.local.layout import REPOSITORY, Layout, Ports
from deploy.local.processes import StackError
from deploy.local.stack import Stack
from services.policy.rebuild import rules as policy_rules
from services.policy.tables import METADATA as POLICY_TABLES
from services.pool.rebuild import rules as pool_rules
from services.pool.tables import METADATA as POOL_TABLES

_RULES: Final = {"policy": policy_rules, "pool": pool_rules}
_TABLES: Final = {"policy": POLICY_TABLES, "pool": POOL_TABLES}
# What the demo does not play: quotes that are refused, vouchers that end unused, tiers that lose everything.
_NOT_PLAYED: Final = {
    "policy": {"policy (nothing signed)"},
    "pool": {"reservation (nothing signed)", "deposit (of vouchers that ended)", "deposit.wait_reason"},
}


def _declared(service: str) -> set[str]:
    rules = _RULES[service].RULES
    columns = {f"{rule.name}.{column}" for rule in rules for column in rule.unknown}
    return columns | {rule.name for rule in rules if not rule.key}


def _documented(service: str) -> set[str]:
    text = (REPOSITORY / "docs" / "rebuild.md").read_text()
    part = text.partition(f"### Of `{service}`")[2].partition("\n##")[0]
    return set(re.findall(r"^- `([^`]+)`", part, re.MULTILINE))


@pytest.mark.parametrize("service", REBUILT)
def test_what_is_lost_is_written_down(service: str) -> None:
    """The page names exactly what the rules leave out, and every table has a rule or holds work and no books."""
    assert _documented(service) == _declared(service)
    ruled = {rule.name.partition(" ")[0] for rule in _RULES[service].RULES}
    assert {table.name for table in _TABLES[service].tables.values()} == ruled | _RULES[service].WORKING


async def test_books_made_again_are_those_that_were_lost(demo: dict[str, Any], open_folder: Path) -> None:
    """Row by row the same, but for exactly what the page says; then in place, where a reconciliation finds nothing."""
    stack = Stack(Layout(open_folder / "demo" / "state", Ports.free(), MARKET_START, 0.0), lambda _: None)
    said: list[str] = []
    try:
        await stack.start()
        for service in REBUILT:
            said.clear()
            differences = await rebuild_books(stack, service, True, said.append)
            assert differences == 0, said
            lost = set(re.findall(r"^not known: (.+)$", "\n".join(said), re.MULTILINE))
            assert lost == _declared(service) - _NOT_PLAYED[service]
            with pytest.raises(StackError, match=f"^{service} runs"):
                await rebuild_books(stack, service, False, said.append)
        for service in REBUILT:
            stack.processes.stop([service])
            said.clear()
            await rebuild_books(stack, service, False, said.append)
        assert said[1:] == ["differences: 0"]
    finally:
        stack.stop()
