"""A few requests to the API server, without any client library."""

import base64
import http.client
import json
import ssl
import tempfile
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Final, cast

_TIMEOUT_SECONDS: Final = 3.0
Json = dict[str, object]


class Api:
    """The API server of a kubeconfig that `certificates` wrote (JSON, certificates inside)."""

    def __init__(self, kubeconfig: Path) -> None:
        """Read the address and the certificates."""
        content = json.loads(kubeconfig.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        self._server: str = cluster["server"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pair:  # mode 0600; ssl takes client certificates from files only
            pair.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
            pair.flush()
            self._tls.load_cert_chain(pair.name)

    def request(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        """Return the status code and the answer; code 0 where there is no answer at all."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(  # noqa: S310 - reason: always the https address of our own kubeconfig
            self._server + path, data, {"Content-Type": "application/json"}, method=method
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)
        )
        try:
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                return response.status, _decode(response.read())
        except urllib.error.HTTPError as error:
            return error.code, _decode(error.read())
        except (OSError, http.client.HTTPException):
            return 0, {}

    def get(self, path: str) -> Json:
        """Return the object, or an empty one where it cannot be had."""
        code, answer = self.request("GET", path)
        return answer if code == HTTPStatus.OK else {}

    def is_ready(self) -> bool:
        """Return whether the API server says that it is ready, storage included."""
        return self.request("GET", "/readyz")[0] == HTTPStatus.OK


def _decode(body: bytes) -> Json:
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return cast(Json, content) if isinstance(content, dict) else {}


def answers(url: str) -> bool:
    """Return whether a plain HTTP probe answers 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT_SECONDS) as response:
            return bool(response.status == HTTPStatus.OK)
    except (OSError, http.client.HTTPException):
        return False
