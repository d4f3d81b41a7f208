"""parameter: the table at deployment, its bounds, keys, the admin's hand-over, delays and pauses."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from services.chain_gateway.stacks.clarity import serialize
from tests.contracts.chain import PARAMETER, Chain, Principal, clarity, printed

CHANGE_WINDOW_BLOCKS = 1008
LARGE_STX, LARGE_SBTC = 10**15, 2_100_000_000_000_000
TABLE: dict[str, tuple[int, int, int]] = {
    "admin.delay-blocks": (0, 0, 1008),
    "oracle.max-age-blocks": (6, 1, 36),
    "oracle.jump-base-bps": (1000, 10, 5000),
    "oracle.jump-per-block-bps": (200, 0, 2000),
    "oracle.silence-blocks": (36, 6, 1008),
    "creation.max-price-move-bps": (300, 10, 2000),
    "creation.max-stx-move-bps": (500, 10, 3000),
    "creation.margin-bps": (500, 0, 5000),
    "creation.min-rate-bps": (10, 0, 1000),
    "issuance.max-per-policy-stx": (10_000_000_000_000, 1, LARGE_STX),
    "issuance.max-per-policy-sbtc": (5_000_000_000, 1, LARGE_SBTC),
    "issuance.max-per-day-stx": (100_000_000_000_000, 1, LARGE_STX),
    "issuance.max-per-day-sbtc": (50_000_000_000, 1, LARGE_SBTC),
    "withdrawal.max-per-day-stx": (10_000_000_000_000, 1, LARGE_STX),
    "withdrawal.max-per-day-sbtc": (5_000_000_000, 1, LARGE_SBTC),
    "withdrawal.delay-blocks": (144, 6, 1008),
    "withdrawal.pause-max-blocks": (1008, 1, 4320),
    "settlement.round-distance-blocks": (2, 1, 12),
    "settlement.round-tolerance-bps": (300, 10, 2000),
    "settlement.pause-max-blocks": (144, 1, 1008),
    "expiry.grace-blocks": (6, 1, 144),
    "expiry.abandoned-blocks": (1008, 1008, 4320),
    "policy.fee-bps": (50, 0, 1000),
    "quote.valid-blocks": (6, 1, 36),
}
TIER_BOUNDS: dict[str, tuple[int, int]] = {
    "strike-min-bps": (1000, 10_000),
    "strike-max-bps": (1000, 20_000),
    "floor-min-bps": (1000, 9900),
    "floor-max-bps": (1000, 9900),
    "duration-min-blocks": (1, 52_560),
    "duration-max-blocks": (1, 52_560),
    "stx-haircut-bps": (0, 9000),
    "utilization-max-bps": (0, 10_000),
    "loading-bps": (0, 10_000),
}
TIERS = {
    "conservative": (4700, 9300, 8000, 9800, 18, 1008, 2000, 8000, 1000),
    "balanced": (4700, 10_300, 6000, 9800, 18, 4320, 3000, 8000, 1500),
    "aggressive": (4700, 11_300, 4000, 9800, 18, 12_960, 4000, 9000, 2500),
}


def test_the_table_at_deployment(chain: Chain) -> None:
    """Every parameter has the agreed value and bounds; get-tier gives a tier's nine together."""
    table = dict(TABLE)
    for number, (tier, values) in enumerate(TIERS.items(), start=1):
        named = dict(zip(TIER_BOUNDS, values, strict=True))
        assert chain.read(PARAMETER, "get-tier", number) == named
        table |= {f"{tier}.{name}": (value, *TIER_BOUNDS[name]) for name, value in named.items()}
    for name, (value, minimum, maximum) in table.items():
        assert chain.read(PARAMETER, "get-parameter", name) == value, name
        bounds = chain.read(PARAMETER, "get-parameter-bounds", name)
        assert bounds == {"minimum": minimum, "maximum": maximum}, name
    assert len(table) == len(TABLE) + 27
    assert chain.read(PARAMETER, "get-tier", 0) == chain.read(PARAMETER, "get-tier", 4) == 1004
    assert chain.read(PARAMETER, "get-parameter", "unknown") == 1002
    assert chain.read(PARAMETER, "get-parameter-bounds", "unknown") == 1002


def test_parameters_change_within_their_bounds(chain: Chain) -> None:
    """The admin sets a parameter on either bound and not beyond; the event says old and new."""
    result = chain.call(chain.admin, PARAMETER, "set-parameter", "expiry.grace-blocks", 144)
    assert printed(result, "parameter-set") == [{"name": "expiry.grace-blocks", "old-value": 6, "value": 144}]
    assert chain.read(PARAMETER, "get-parameter", "expiry.grace-blocks") == 144
    chain.set("expiry.grace-blocks", 1)
    for value in (0, 145):
        assert chain.error(chain.admin, PARAMETER, "set-parameter", "expiry.grace-blocks", value) == 1003
    assert chain.error(chain.admin, PARAMETER, "set-parameter", "unknown", 5) == 1002


def test_only_the_admin_changes_anything(chain: Chain) -> None:
    """Every function of the admin refuses everybody else, backend and oracle included."""
    calls: list[tuple[Any, ...]] = [
        ("set-parameter", "expiry.grace-blocks", 7),
        ("add-backend-principal", Principal(chain.stranger.address)),
        ("remove-backend-principal", Principal(chain.backend.address)),
        ("add-oracle-key", chain.stranger.public_key),
        ("remove-oracle-key", chain.oracle.public_key),
        ("pause", "creation"),
        ("unpause", "creation"),
        ("propose-admin", Principal(chain.stranger.address)),
        ("cancel-change", bytes(32)),
    ]
    for function, *args in calls:
        for actor in (chain.stranger, chain.backend, chain.oracle):
            assert chain.error(actor, PARAMETER, function, *args) == 1001, function


def test_the_admin_is_not_lent_to_a_contract(chain: Chain) -> None:
    """A contract that the admin calls cannot act as the admin."""
    code = f'(define-public (lure) (contract-call? \'{chain.vm.contract(PARAMETER)} pause "creation"))'
    chain.vm.deploy(chain.stranger.address, "lure", code)
    assert chain.error(chain.admin, "lure", "lure") == 1001


def test_keys_come_and_go(chain: Chain) -> None:
    """Backend principals and oracle keys are sets; a key that is no point of the curve is refused."""
    who, key = Principal(chain.stranger.address), chain.stranger.public_key
    assert chain.read(PARAMETER, "is-backend-principal", who) is False
    added = chain.call(chain.admin, PARAMETER, "add-backend-principal", who)
    assert printed(added, "backend-principal-added") == [{"principal": who.text}]
    assert chain.read(PARAMETER, "is-backend-principal", who) is True
    removed = chain.call(chain.admin, PARAMETER, "remove-backend-principal", who)
    assert printed(removed, "backend-principal-removed") == [{"principal": who.text}]
    assert chain.read(PARAMETER, "is-backend-principal", who) is False
    added = chain.call(chain.admin, PARAMETER, "add-oracle-key", key)
    assert printed(added, "oracle-key-added") == [{"key": key}]
    assert chain.read(PARAMETER, "is-oracle-key", key) is True
    removed = chain.call(chain.admin, PARAMETER, "remove-oracle-key", key)
    assert printed(removed, "oracle-key-removed") == [{"key": key}]
    assert chain.read(PARAMETER, "is-oracle-key", key) is False
    for bad in (bytes(33), b"\x05" + key[1:], key[:32]):
        assert chain.error(chain.admin, PARAMETER, "add-oracle-key", bad) == 1010


def test_the_admin_is_handed_over_in_two_steps(chain: Chain) -> None:
    """A proposed admin must accept; until then, and for anyone else, nothing changes; then the old one is out."""
    assert chain.error(chain.stranger, PARAMETER, "accept-admin") == 1009
    proposed = chain.call(chain.admin, PARAMETER, "propose-admin", Principal(chain.stranger.address))
    assert printed(proposed, "admin-proposed") == [{"principal": chain.stranger.address}]
    assert chain.read(PARAMETER, "get-proposed-admin") == chain.stranger.address
    assert chain.read(PARAMETER, "get-admin") == chain.admin.address
    assert chain.error(chain.backend, PARAMETER, "accept-admin") == 1009
    accepted = chain.call(chain.stranger, PARAMETER, "accept-admin")
    change = {"old-admin": chain.admin.address, "admin": chain.stranger.address}
    assert printed(accepted, "admin-changed") == [change]
    assert chain.read(PARAMETER, "get-admin") == chain.stranger.address
    assert chain.error(chain.admin, PARAMETER, "pause", "creation") == 1001
    assert chain.error(chain.stranger, PARAMETER, "accept-admin") == 1009


def test_what_widens_power_waits(chain: Chain) -> None:
    """With a delay, keys, numbers and the admin change by a second call after it; removing and pausing do not wait."""
    chain.set("admin.delay-blocks", 10)
    key = chain.stranger.public_key
    calls: list[tuple[Any, ...]] = [
        ("add-oracle-key", key),
        ("add-backend-principal", Principal(chain.stranger.address)),
        ("set-parameter", "admin.delay-blocks", 0),
        ("propose-admin", Principal(chain.stranger.address)),
    ]
    for function, *args in calls:
        result = chain.call(chain.admin, PARAMETER, function, *args)
        assert result.expect() == clarity(False)
        assert printed(result, "change-scheduled")[0]["ready-burn-height"] == chain.height + 10
    chain.vm.mine_burn(9)
    for function, *args in calls:
        assert chain.ok(chain.admin, PARAMETER, function, *args) is False
    assert chain.read(PARAMETER, "is-oracle-key", key) is False
    chain.vm.mine_burn(1)
    assert chain.ok(chain.admin, PARAMETER, *calls[0]) is True
    assert chain.read(PARAMETER, "is-oracle-key", key) is True
    assert chain.ok(chain.admin, PARAMETER, *calls[0]) is False, "a made change is scheduled anew"
    assert chain.error(chain.stranger, PARAMETER, "accept-admin") == 1009
    assert chain.ok(chain.admin, PARAMETER, *calls[3]) is True
    assert chain.ok(chain.admin, PARAMETER, "pause", "creation") is True
    assert chain.ok(chain.admin, PARAMETER, "remove-oracle-key", key) is True
    chain.ok(chain.stranger, PARAMETER, "accept-admin")


def test_a_waiting_change_can_be_cancelled(chain: Chain) -> None:
    """A cancelled change starts its delay again."""
    chain.set("admin.delay-blocks", 10)
    chain.ok(chain.admin, PARAMETER, "add-oracle-key", chain.stranger.public_key)
    change = sha256(serialize(clarity({"oracle-key": chain.stranger.public_key}))).digest()
    assert chain.read(PARAMETER, "get-scheduled-change", change) == chain.height + 10
    cancelled = chain.call(chain.admin, PARAMETER, "cancel-change", change)
    assert printed(cancelled, "change-cancelled") == [{"change": change}]
    assert chain.error(chain.admin, PARAMETER, "cancel-change", change) == 1011
    chain.vm.mine_burn(10)
    assert chain.ok(chain.admin, PARAMETER, "add-oracle-key", chain.stranger.public_key) is False


def test_a_forgotten_change_lapses(chain: Chain) -> None:
    """A change can be made for a week from its height; a block later the same call only announces it anew."""
    chain.set("admin.delay-blocks", 10)
    calls: list[tuple[Any, ...]] = [
        ("add-oracle-key", chain.stranger.public_key),
        ("set-parameter", "admin.delay-blocks", 0),
    ]
    for function, *args in calls:
        assert chain.ok(chain.admin, PARAMETER, function, *args) is False
    chain.vm.mine_burn(10 + CHANGE_WINDOW_BLOCKS)
    assert chain.ok(chain.admin, PARAMETER, *calls[1]) is True, "the last block of the window"
    chain.set("admin.delay-blocks", 10)
    chain.vm.mine_burn(1)
    again = chain.call(chain.admin, PARAMETER, *calls[0])
    assert again.expect() == clarity(False)
    assert printed(again, "change-scheduled")[0]["ready-burn-height"] == chain.height + 10
    assert chain.read(PARAMETER, "is-oracle-key", chain.stranger.public_key) is False
    chain.vm.mine_burn(10)
    assert chain.ok(chain.admin, PARAMETER, *calls[0]) is True


@pytest.mark.parametrize("kind", ["creation", "deposits", "withdrawals", "settlement"])
def test_each_pause_is_separate(chain: Chain, kind: str) -> None:
    """One pause touches no other, cannot be set twice, and ends when told."""
    kinds = {"creation", "deposits", "withdrawals", "settlement"}
    assert chain.error(chain.admin, PARAMETER, "unpause", kind) == 1007
    result = chain.call(chain.admin, PARAMETER, "pause", kind)
    assert printed(result, "paused") == [{"kind": kind, "burn-height": chain.height}]
    assert {one for one in kinds if chain.read(PARAMETER, "is-paused", one)} == {kind}
    assert chain.error(chain.admin, PARAMETER, "pause", kind) == 1006
    chain.vm.mine_burn(3)
    result = chain.call(chain.admin, PARAMETER, "unpause", kind)
    assert printed(result, "unpaused") == [{"kind": kind, "burn-height": chain.height}]
    assert chain.read(PARAMETER, "is-paused", kind) is False
    assert chain.error(chain.admin, PARAMETER, "pause", "everything") == 1005


def test_a_settlement_pause_lapses_and_is_counted(chain: Chain) -> None:
    """It ends by itself after 144 blocks, counts its blocks, and cannot be repeated at once."""
    counter = "get-settlement-pause-counter"
    assert chain.read(PARAMETER, counter) == 0
    chain.ok(chain.admin, PARAMETER, "pause", "settlement")
    chain.vm.mine_burn(143)
    assert chain.read(PARAMETER, "is-paused", "settlement") is True
    assert chain.read(PARAMETER, counter) == 143
    chain.vm.mine_burn(1)
    assert chain.read(PARAMETER, "is-paused", "settlement") is False
    chain.vm.mine_burn(50)
    assert chain.read(PARAMETER, counter) == 144
    assert chain.error(chain.admin, PARAMETER, "pause", "settlement") == 1008
    assert chain.error(chain.admin, PARAMETER, "unpause", "settlement") == 1007
    chain.vm.mine_burn(95)
    assert chain.error(chain.admin, PARAMETER, "pause", "settlement") == 1008
    chain.vm.mine_burn(1)
    chain.ok(chain.admin, PARAMETER, "pause", "settlement")
    chain.vm.mine_burn(5)
    chain.ok(chain.admin, PARAMETER, "unpause", "settlement")
    chain.vm.mine_burn(7)
    assert chain.read(PARAMETER, counter) == 149
    chain.ok(chain.admin, PARAMETER, "pause", "settlement")
    chain.vm.mine_burn(2)
    assert chain.read(PARAMETER, counter) == 151


@pytest.mark.parametrize(("kind", "longest"), [("settlement", 144), ("withdrawals", 1008)])
def test_a_pause_that_holds_money_back_lapses(chain: Chain, kind: str, longest: int) -> None:
    """It ends by itself, its end stands fixed, and as many blocks without one must follow before the next."""
    start = chain.height
    chain.ok(chain.admin, PARAMETER, "pause", kind)
    assert chain.read(PARAMETER, "get-pause", kind) == {"start": start, "end": start + longest, "earlier": 0}
    chain.set(f"{kind.removesuffix('s')}.pause-max-blocks", 100)
    chain.vm.mine_burn(longest - 1)
    assert chain.read(PARAMETER, "is-paused", kind) is True
    chain.vm.mine_burn(1)
    assert chain.read(PARAMETER, "is-paused", kind) is False
    chain.vm.mine_burn(longest)
    assert chain.error(chain.admin, PARAMETER, "pause", kind) == 1008
    chain.vm.mine_burn(2)
    chain.ok(chain.admin, PARAMETER, "pause", kind)
    assert chain.read(PARAMETER, "get-pause", kind)["end"] == chain.height + 100


@pytest.mark.parametrize("kind", ["creation", "deposits"])
def test_a_pause_that_keeps_new_money_out_lasts(chain: Chain, kind: str) -> None:
    """It ends when the admin says so, however long that takes, and may be set again at once."""
    chain.ok(chain.admin, PARAMETER, "pause", kind)
    chain.vm.mine_burn(20_000)
    assert chain.read(PARAMETER, "is-paused", kind) is True
    for function in ("unpause", "pause", "unpause"):
        chain.ok(chain.admin, PARAMETER, function, kind)
