"""Schema revisions of the journal, run by `database.migrate`. Expand first, contract one release later."""
