"""The migrated schema is what the tables say, and every list goes by an index."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel.sql.sqltypes import AutoString

from kernel.database import migrate
from services.policy.tables import METADATA, SCHEMA
from tests.integration.policy.harness import MIGRATIONS, House

DUE = "state = 'ACTIVE' AND NOT unjudged_activation AND due_burn_height <= 5"


def differs(context: Any, column: Any, metadata_column: Any, database_type: Any, metadata_type: Any) -> bool | None:
    """False for two kinds of text, which Postgres stores alike; None leaves it to Alembic."""
    is_text = isinstance(database_type, sa.String) and isinstance(metadata_type, sa.String | AutoString)
    return False if is_text else None


def differences(connection: sa.Connection) -> list[Any]:
    """What Alembic would still change, indexes and constraints apart: the migration alone has those."""
    options = {"include_schemas": True, "version_table_schema": SCHEMA, "compare_type": differs}
    options["include_name"] = lambda name, kind, _: name == SCHEMA if kind == "schema" else True
    found = compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
    return [change for change in found if change[0] not in ("remove_index", "remove_constraint", "remove_fk")]


async def test_the_migration_makes_the_tables(shared_house: House) -> None:
    """Columns and types of the migrated schema are those of the table classes; migrating again changes nothing."""
    await migrate(shared_house.url, SCHEMA, MIGRATIONS)
    async with shared_house.database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("holder_principal = 'x' ORDER BY id DESC LIMIT 50", "policy_holder_index"),
        (
            "state = 'ACTIVE' AND NOT unjudged_activation AND due_burn_height <= 5 ORDER BY due_burn_height LIMIT 1",
            "policy_due_heights_index",
        ),
        ("state = 'PENDING_CREATION' AND quote_expiration_burn_height <= 5", "policy_unpaid_index"),
        ("tier = 1 AND state IN ('ACTIVE') ORDER BY id DESC LIMIT 50", "policy_tier_index"),
        ("onchain_id = 5", "policy_onchain_index"),
        ("unjudged_activation ORDER BY id LIMIT 5", "policy_unjudged_index"),
    ],
)
async def test_queries_go_by_an_index(shared_house: House, condition: str, index: str) -> None:
    """The planner has an index for each query that must not read a million sleeping policies."""
    async with shared_house.database.engine.connect() as connection:
        await connection.execute(sa.text("SET enable_seqscan = off"))
        plan = await connection.execute(sa.text(f"EXPLAIN SELECT * FROM policy.policy WHERE {condition}"))
        assert index in "\n".join(plan.scalars())
