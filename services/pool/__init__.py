"""The pool: providers, double-entry ledger, capacity reservations, collateral, reconciliation."""
