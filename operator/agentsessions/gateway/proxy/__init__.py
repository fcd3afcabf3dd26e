"""The model proxy and the runner routes: the only way from an agent pod to a model.

    routes  ->  purchase  ->  retry  ->  upstream  ->  provider, or the scripted model on loopback
                   |                        `-- guard: which addresses may be dialled
                   |-- checks               pure: what a request and an answer must be
                   |-- providers            where a model is, and its key
                   `-- relay                one complete journaled answer, streamed or whole

Two rules hold everywhere below. Only a complete answer is journaled, and only a journaled answer reaches the pod.
A purchase once begun runs to its end, whatever becomes of the client that asked for it.
"""
