"""The journal: what agents said and did, what it cost, and who may write it. The gateway alone opens it.

Start at `store.Store`. Pure: `entries` (entry types, hash chain), `acts` (audit), `digests`, `limits`, `answers`.
Everything that writes is a job of the one writer (`writer.Writer`): a plain function over `writer.Work`, run inside a
savepoint and acknowledged only after the commit that holds it. Jobs live in `sessions`, `fences`, `turns`, `calls` and
`tools`; all of them touch a session's chain and counters through `ledger.Ledger`.
"""
