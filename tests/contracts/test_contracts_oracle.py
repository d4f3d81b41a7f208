"""oracle: who publishes, what becomes the latest, how far a price may jump, and what happens in silence."""

from __future__ import annotations

import pytest

from tests.contracts.chain import (
    BTC,
    CHAIN_ID,
    ORACLE,
    PARAMETER,
    REGISTRY,
    STX_FEED,
    USD,
    Chain,
    Principal,
    Signed,
    plain,
    printed,
    refused,
)
from tests.contracts.vm import CallResult


def publish(chain: Chain, signed: Signed) -> CallResult:
    """Publishes a signed round as the backend."""
    return chain.call(chain.backend, ORACLE, "publish-price", signed.message, signed.signature)


@pytest.mark.parametrize("feed", [BTC, STX_FEED])
def test_a_round_is_stored_and_becomes_the_latest(chain: Chain, feed: str) -> None:
    """A published round is readable as it was signed, is the feed's latest, and is told in an event."""
    assert chain.read(ORACLE, "get-latest-price", feed) is None
    signed = chain.round(feed, 50_000 * USD)
    result = publish(chain, signed)
    assert plain(result.expect()) is True
    assert printed(result, "price-published") == [signed.message | {"latest": True}]
    assert chain.read(ORACLE, "get-latest-price", feed) == signed.message
    assert chain.read(ORACLE, "get-round", feed, 1) == signed.message
    assert chain.read(ORACLE, "get-round", feed, 2) is None
    assert chain.read(ORACLE, "get-fresh-price", feed) == 50_000 * USD


def test_publishing_needs_backend_and_oracle_together(chain: Chain) -> None:
    """Neither the oracle's signature nor a backend sender alone publishes; nor does a signature for anything else."""
    signed = chain.round(BTC, 50_000 * USD)
    for actor in (chain.oracle, chain.admin, chain.stranger):
        assert chain.error(actor, ORACLE, "publish-price", signed.message, signed.signature) == 2001
    for signer in (chain.backend, chain.admin, chain.stranger):
        forged = chain.sign(signer, "bithedge-price-round", ORACLE, signed.message)
        assert refused(publish(chain, forged)) == 2006
    for kind, contract, chain_id in (
        ("bithedge-expiry-receipt", ORACLE, CHAIN_ID),
        ("bithedge-price-round", REGISTRY, CHAIN_ID),
        ("bithedge-price-round", ORACLE, 1),
    ):
        assert refused(publish(chain, chain.sign(chain.oracle, kind, contract, signed.message, chain_id))) == 2006
    for key, value in (("price-e8", 1), ("round", 9), ("observed-at", 1), ("confidence-e8", 2), ("burn-height", 1)):
        tampered = Signed(signed.message | {key: value}, signed.signature)
        assert refused(publish(chain, tampered)) == 2006, key
    publish(chain, signed).expect()


def test_impossible_rounds_are_refused(chain: Chain) -> None:
    """Unknown feeds, zero prices, heights of the future and repeated rounds are refused."""
    assert refused(publish(chain, chain.sign(
        chain.oracle, "bithedge-price-round", ORACLE, chain.round(BTC, USD).message | {"feed": "ETH/USD"}
    ))) == 2002  # fmt: skip
    assert refused(publish(chain, chain.round(BTC, 0))) == 2003
    assert refused(publish(chain, chain.round(BTC, USD, **{"burn-height": chain.height + 1}))) == 2004
    signed = chain.round(BTC, USD)
    publish(chain, signed).expect()
    assert refused(publish(chain, signed)) == 2005
    assert refused(publish(chain, chain.round(BTC, USD + 1, round=signed.message["round"]))) == 2005


def test_only_a_newer_round_becomes_the_latest(chain: Chain) -> None:
    """A round that is not newer by number, height and time is stored without becoming the latest."""
    chain.vm.mine_burn(5)
    height = chain.height
    latest = chain.round(BTC, 1000, **{"round": 10, "observed-at": 500, "burn-height": height - 1})
    publish(chain, latest).expect()
    for number, observed, burn in ((9, 600, height), (11, 500, height), (12, 600, height - 2), (13, 400, height)):
        changes = {"round": number, "observed-at": observed, "burn-height": burn}
        signed = chain.round(BTC, 1000, **changes)
        result = publish(chain, signed)
        assert plain(result.expect()) is False
        assert printed(result, "price-published")[0]["latest"] is False
        assert chain.read(ORACLE, "get-latest-price", BTC) == latest.message
        assert chain.read(ORACLE, "get-round", BTC, number) == signed.message
    newer = chain.round(BTC, 1001, **{"round": 14, "observed-at": 501, "burn-height": height - 1})
    publish(chain, newer).expect()
    assert chain.read(ORACLE, "get-latest-price", BTC) == newer.message


def test_a_jump_is_bounded_by_the_blocks_that_passed(chain: Chain) -> None:
    """A price may differ from the latest of an earlier height by 10% and 2% per block between, both ways."""
    chain.publish(BTC, 10_000)
    chain.vm.mine_burn(3)
    assert refused(publish(chain, chain.round(BTC, 11_601))) == 2007
    assert refused(publish(chain, chain.round(BTC, 8_399))) == 2007
    chain.publish(BTC, 11_600)
    chain.vm.mine_burn(1)
    chain.publish(BTC, 11_600 - 1_392)


def test_calls_within_one_block_do_not_add_up(chain: Chain) -> None:
    """Many rounds of one burn block are all measured against the same anchor."""
    chain.publish(BTC, 10_000)
    assert refused(publish(chain, chain.round(BTC, 11_001))) == 2007
    chain.publish(BTC, 11_000)
    assert refused(publish(chain, chain.round(BTC, 11_001))) == 2007
    chain.vm.mine_burn(1)
    chain.publish(BTC, 12_320)
    assert refused(publish(chain, chain.round(BTC, 12_321))) == 2007
    chain.publish(BTC, 9_680)
    assert refused(publish(chain, chain.round(BTC, 9_679))) == 2007


def test_a_late_round_is_bounded_too(chain: Chain) -> None:
    """An older round that is filled in may not lie further off than its distance in blocks allows."""
    chain.vm.mine_burn(5)
    height = chain.height
    publish(chain, chain.round(BTC, 10_000, round=10)).expect()
    assert refused(publish(chain, chain.round(BTC, 11_401, **{"round": 8, "burn-height": height - 2}))) == 2007
    publish(chain, chain.round(BTC, 11_400, **{"round": 8, "burn-height": height - 2})).expect()


def test_the_feeds_do_not_touch_each_other(chain: Chain) -> None:
    """Rounds, latest price and jump bound are kept per feed."""
    chain.publish(BTC, 10_000)
    chain.publish(STX_FEED, 5)
    assert chain.read(ORACLE, "get-latest-price", BTC)["price-e8"] == 10_000
    assert chain.read(ORACLE, "get-latest-price", STX_FEED)["price-e8"] == 5


def test_after_a_silence_anyone_relays_signed_rounds(chain: Chain) -> None:
    """When no backend has published a feed for 36 blocks, anyone may; never an unsigned round; until it is back."""
    chain.publish(BTC, 10_000)
    chain.vm.mine_burn(36)
    signed = chain.round(BTC, 10_000)
    assert chain.error(chain.stranger, ORACLE, "publish-price", signed.message, signed.signature) == 2001
    chain.vm.mine_burn(1)
    forged = chain.sign(chain.stranger, "bithedge-price-round", ORACLE, signed.message)
    assert chain.error(chain.stranger, ORACLE, "publish-price", forged.message, forged.signature) == 2006
    chain.ok(chain.stranger, ORACLE, "publish-price", signed.message, signed.signature)
    signed = chain.round(BTC, 10_000)
    chain.ok(chain.stranger, ORACLE, "publish-price", signed.message, signed.signature)
    chain.publish(BTC, 10_000)
    signed = chain.round(BTC, 10_000)
    assert chain.error(chain.stranger, ORACLE, "publish-price", signed.message, signed.signature) == 2001


def test_removed_keys_publish_nothing(chain: Chain) -> None:
    """A removed oracle key's signature and a removed backend principal's call are refused."""
    signed = chain.round(BTC, 10_000)
    chain.ok(chain.admin, PARAMETER, "remove-oracle-key", chain.oracle.public_key)
    assert refused(publish(chain, signed)) == 2006
    chain.ok(chain.admin, PARAMETER, "add-oracle-key", chain.oracle.public_key)
    chain.ok(chain.admin, PARAMETER, "remove-backend-principal", Principal(chain.backend.address))
    assert refused(publish(chain, signed)) == 2001
