"""Alembic environment of the schema `chain_gateway`."""

from __future__ import annotations

from kernel.migration_environment import run_migrations

run_migrations()
