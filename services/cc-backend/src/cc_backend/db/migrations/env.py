"""Alembic's entry: runs the revisions on the connection that `cc_backend.db.schema` hands over."""

from alembic import context

from cc_backend.db.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
