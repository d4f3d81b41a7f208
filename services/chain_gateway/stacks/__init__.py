"""The Stacks codec: addresses, Clarity values, transactions, signed messages, and a node's HTTP interface."""
