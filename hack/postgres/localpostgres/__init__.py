"""PostgreSQL servers that tests and benches start, each in a folder of its own, and remove again."""
