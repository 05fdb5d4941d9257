"""Runs migrations on the connection that `upgrade.py` passes; there is no other entry."""

from alembic import context

from directory_server.metadata.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
