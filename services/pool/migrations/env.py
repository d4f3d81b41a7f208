"""Migrates the schema `pool`."""

from __future__ import annotations

from kernel.migration_environment import run_migrations

run_migrations()
