"""`kubectl agentsession`: the command line.

`main` parses; a verb is a function in `verbs/`, loaded when it is called, so that `--help` stays quick. Objects are
read and changed at the API server with the user's own kubeconfig (`kube`), the journal at the gateway (`connection`).
"""
