"""Wallet sign-in, sessions, roles, and the tokens of our own processes."""
