"""The operator process: kopf's streams and our informer in, decisions of `lifecycle` applied, statuses out.

Start at `reconcile.Reconciler.reconcile` (one pass over one session) and `app.Operator` (what runs beside it).
"""
