"""Runs the revisions on the connection, and in the transaction, of `database.migrate`. Loaded by alembic."""

from alembic import context

from agentsessions.journal.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
