"""What every service's Alembic `env.py` runs: migrate one schema on the connection that `migrate` opened.

A service's `migrations/env.py` is these two lines:

    from kernel.migration_environment import run_migrations
    run_migrations()
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context


def run_migrations() -> None:
    """Runs the pending revisions in one transaction, the version table inside the service's schema."""
    connection: sa.Connection = context.config.attributes["connection"]
    schema: str = context.config.attributes["schema"]
    context.configure(connection=connection, version_table_schema=schema, include_schemas=True)
    with context.begin_transaction():
        context.run_migrations()
