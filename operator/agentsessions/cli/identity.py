"""As whom the gateway is spoken to: it takes bearer tokens that the API server accepts.

A kubeconfig with a token, or with a plugin that gives one, is enough. For a user with a client certificate, as kind's
admin, a token of a service account is asked for (TokenRequest): the one of `--as-account`, or `agentsessions-cli` in
the session's namespace. It lives ten minutes, in memory alone.
"""

import time
from collections.abc import Callable
from typing import Final

from agentsessions.cli.failures import Failure
from agentsessions.cli.kube import ACCOUNTS, Kube, KubeError

ACCOUNT: Final = "agentsessions-cli"
LIFE_SECONDS: Final = 600
FRESH_SECONDS: Final = 480.0


class AccountToken:
    """A token of a service account, asked for anew before it ends."""

    def __init__(self, kube: Kube, namespace: str, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self.namespace = namespace
        self.name = name
        self._clock = clock
        self._token = ""
        self._asked_at = 0.0

    def __call__(self) -> str:
        """Return the token.

        Raises:
            Failure: There is no such account, or the user may not have its tokens.
        """
        if not self._token or self._clock() - self._asked_at > FRESH_SECONDS:
            self._token = self._ask()
            self._asked_at = self._clock()
        return self._token

    def _ask(self) -> str:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": LIFE_SECONDS},
        }
        path = f"{ACCOUNTS.path(self.namespace, self.name)}/token"
        try:
            token: str = self._kube.request("POST", path, body=body)["status"]["token"]
        except KubeError as error:
            is_nowhere = error.reason == "NotFound" and self._kube.lacks_namespace(self.namespace)
            raise Failure(explain(self.namespace, self.name, error, is_nowhere=is_nowhere)) from error
        return token


def explain(namespace: str, name: str, error: KubeError, *, is_nowhere: bool = False) -> str:
    """Return what to do about an account that gives no token."""
    if error.reason != "NotFound":
        return (
            f"you may not have a token of service account {namespace}/{name} ({error}): ask for `create` on "
            "serviceaccounts/token, name another account with --as-account, or use a kubeconfig with a token"
        )
    if is_nowhere:
        return f"there is no namespace {namespace}: choose another with -n"
    return (
        "your kubeconfig has a client certificate, which the gateway cannot check, and there is no service account "
        f"{namespace}/{name} to speak for you: {'; '.join(commands(namespace, name))}"
    )


def commands(namespace: str, name: str = ACCOUNT) -> tuple[str, str]:
    """Return the commands that make an account which may do to sessions what an editor of the namespace may."""
    return (
        f"kubectl create serviceaccount {name} -n {namespace}",
        f"kubectl create rolebinding {name} -n {namespace} --clusterrole=edit --serviceaccount={namespace}:{name}",
    )


def token_source(kube: Kube, namespace: str, as_account: str | None) -> Callable[[], str]:
    """Return what gives the token for the gateway.

    Args:
        kube: The API server, with the user's own credentials.
        namespace: Namespace of the sessions in question.
        as_account: `namespace/name` or `name` of an account to be instead of oneself.
    """
    if as_account:
        where, _, name = as_account.rpartition("/")
        return AccountToken(kube, where or namespace, name)
    own = kube.access.token
    if own():
        return lambda: own() or ""
    return AccountToken(kube, namespace, ACCOUNT)
