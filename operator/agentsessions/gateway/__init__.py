"""The gateway process: owns the journal, sells models to agent pods, shows people what sessions do.

Start at `main.run` (what is opened, in which order) and `app.create_app` (the routes). `auth` says who asks and what
they may, `watch` copies the cluster's view of sessions into the journal, `streams` carries answers without end, and
`proxy` is everything that agent pods talk to. `audit` records what people do here, `manifests` what they do elsewhere.
`tracing` is what traced code knows of traces. Routes are thin: what they answer is in `models`, `steps`, `events` and
`levels`.
"""
