"""The identity process."""

from __future__ import annotations

from pathlib import Path

from bithedge.identity.v1 import identity_service_pb2 as pb
from bithedge.identity.v1 import identity_service_pb2_grpc as pb_grpc

from kernel.database import Database, migrate
from kernel.process import run_process
from kernel.rpc.server import Process, Service, serve
from services.identity.config import Settings, load_settings
from services.identity.housekeeping import purge_forever
from services.identity.keys import load_key_set
from services.identity.service_clients import ServiceClients
from services.identity.servicer import IdentityServicer

SCHEMA = "identity"
MIGRATIONS = Path(__file__).with_name("migrations")


def build(settings: Settings, database: Database) -> Process:
    """The process from its settings; SettingsError for a key or secret that cannot be used."""
    keys = load_key_set(settings.jwt_key_file, map(Path, settings.jwt_other_key_files))
    clients = ServiceClients(settings.service_secrets_folder)
    servicer = IdentityServicer(database, settings.domain, keys, clients, settings.operator_principals)
    service = Service(
        pb.DESCRIPTOR.services_by_name["IdentityService"],
        lambda server: pb_grpc.add_IdentityServiceServicer_to_server(servicer, server),
    )
    return Process(
        listen=settings.listen,
        metrics_port=settings.metrics_port,
        services=(service,),
        verifier=keys,
        background=(lambda: purge_forever(database),),
        on_close=(database.close,),
    )


async def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    settings = load_settings()
    database = Database(settings.database_url)
    process = build(settings, database)
    await migrate(settings.database_url, SCHEMA, MIGRATIONS)
    await serve(process)


if __name__ == "__main__":
    run_process("identity", main())
