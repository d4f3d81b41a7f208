"""Why books differ, as far as they show it: a stable code for each cause, and its sentence for people."""

from __future__ import annotations

import enum
from typing import Final


class LikelyCause(enum.StrEnum):
    """Stable; new ones may come."""

    EVENT_MISSED = "EVENT_MISSED"
    NOT_FROM_EVENTS = "NOT_FROM_EVENTS"
    CREATION_WITHDRAWN = "CREATION_WITHDRAWN"
    VAULT_OWNS_LESS = "VAULT_OWNS_LESS"
    SENT_TO_VAULT = "SENT_TO_VAULT"
    CONTRACTS_DISAGREE = "CONTRACTS_DISAGREE"
    SERVICE_MISSED_EVENT = "SERVICE_MISSED_EVENT"
    SERVICE_AHEAD = "SERVICE_AHEAD"
    SERVICE_REFUSED = "SERVICE_REFUSED"
    CREATED_AFTER_FAILURE = "CREATED_AFTER_FAILURE"
    WRONG_ACCOUNT = "WRONG_ACCOUNT"
    UNEXPLAINED_PAYMENT = "UNEXPLAINED_PAYMENT"
    RELEASE_MISSED = "RELEASE_MISSED"
    COMMIT_MISSED = "COMMIT_MISSED"
    COMMITTED_WITHOUT_POLICY = "COMMITTED_WITHOUT_POLICY"
    LAPSE_MISSED = "LAPSE_MISSED"
    DERIVED_BY_HAND = "DERIVED_BY_HAND"
    CHANGED_BY_HAND = "CHANGED_BY_HAND"
    ENTRIES_DISAGREE = "ENTRIES_DISAGREE"
    NOT_ITS_SHARES = "NOT_ITS_SHARES"


SENTENCES: Final = {
    LikelyCause.EVENT_MISSED: "an event of the chain that the ledger missed, or recorded as unexplained",
    LikelyCause.NOT_FROM_EVENTS: "no event of the chain explains it: an entry without event, or terms that differ",
    LikelyCause.CREATION_WITHDRAWN: "a creation that the chain withdrew",
    LikelyCause.VAULT_OWNS_LESS: "the vault owns less than it accounts for: stop creation and withdrawals",
    LikelyCause.SENT_TO_VAULT: "sent to the vault outside its functions; the admin may skim it",
    LikelyCause.CONTRACTS_DISAGREE: "the registry's open policies and the vault's locked collateral disagree",
    LikelyCause.SERVICE_MISSED_EVENT: (
        "the policy service missed an event of this policy, or applied one that the chain does not have"
    ),
    LikelyCause.SERVICE_AHEAD: "the policy service believes in a creation that the chain does not have",
    LikelyCause.SERVICE_REFUSED: "the policy service's rules refuse what the chain's events say: its log says which",
    LikelyCause.CREATED_AFTER_FAILURE: "created on chain after the policy service had ended its quote",
    LikelyCause.WRONG_ACCOUNT: "an entry on the wrong account: the rows that the account stands for say otherwise",
    LikelyCause.UNEXPLAINED_PAYMENT: "the vault paid what no book explains",
    LikelyCause.RELEASE_MISSED: "the quote's last height is final without its creation, and nothing released it",
    LikelyCause.COMMIT_MISSED: "the policy was created, and nothing committed its reservation",
    LikelyCause.COMMITTED_WITHOUT_POLICY: "committed for a policy that neither chain nor ledger has",
    LikelyCause.LAPSE_MISSED: "the voucher's last height is final without its use, and nothing ended it",
    LikelyCause.DERIVED_BY_HAND: "a derived table that does not follow from the journal: call pool.rebuild_derived()",
    LikelyCause.CHANGED_BY_HAND: "a row that was changed by hand after it was made from an event or an entry",
    LikelyCause.ENTRIES_DISAGREE: "an entry was made from a row that had been changed: find out who is owed",
    LikelyCause.NOT_ITS_SHARES: (
        "its provider has fewer shares than wait to be burned: the request was changed, or a deposit taken back"
    ),
}
