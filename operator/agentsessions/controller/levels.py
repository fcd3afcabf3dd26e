"""What the gateway says of each session, live.

The feed is connected and synced, or it is not: a line at least every 10 s is promised, and after 25 s of silence the
stream is taken for dead. Levels of the last good stream are kept while a new one syncs, then replaced whole.
"""

import asyncio
import ssl
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
import structlog
from pydantic import ValidationError

from agentsessions.api.child_sessions import ChildReport
from agentsessions.api.levels import LEVELS_PATH, Level, LevelLine, SourceAnswer
from agentsessions.api.spending import USAGE_PATH, DayUsage, Spent
from agentsessions.controller.authority import Authority
from agentsessions.controller.outages import Outages
from agentsessions.engine.errors import ApiError

SILENCE_SECONDS: Final = 25.0
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 10.0
FIRST_BACKOFF_SECONDS: Final = 0.5
LONGEST_BACKOFF_SECONDS: Final = 10.0
READ_TIMEOUT: Final = aiohttp.ClientTimeout(total=READ_SECONDS, sock_connect=CONNECT_SECONDS)
LINE_BYTES: Final = 2**20
NAMESPACES_ASKED: Final = 100
"""Namespaces in one question for what they spent: it must fit into a URL."""

log = structlog.get_logger(__name__)


class GatewayAwayError(Exception):
    """The gateway did not answer as it should."""


PASSING: Final = (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError, ValidationError, GatewayAwayError, ApiError)
"""What a gateway that is away, restarting or of another version looks like."""


class LevelFeed:
    """Client of the gateway's levels."""

    def __init__(
        self,
        url: str,
        token_file: Path,
        authority: Authority,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._url = url + LEVELS_PATH
        self._usage_url = url + USAGE_PATH
        self._token_file = token_file
        self._authority = authority
        self._clock = clock
        self._levels: dict[str, Level] = {}
        self._outages = Outages()
        self._heard_at = clock()
        self._outages.begin(self._heard_at)
        self._tls: tuple[str, ssl.SSLContext] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._is_away_logged = False
        self.is_reachable = False
        """Whether the levels are live: connected, synced, and heard of within 25 s."""
        self.was_tried = asyncio.Event()
        """Set once the first attempt has synced or failed."""
        self.on_level: Callable[[str], None] = lambda _uid: None
        """Called with the uid of a session whose level changed."""
        self.on_reachable: Callable[[], None] = lambda: None
        """Called when the gateway is reached again, or lost."""

    def get(self, uid: str) -> Level | None:
        """Return the level of a session as last heard."""
        return self._levels.get(uid)

    def forget(self, uid: str) -> None:
        """Drop what is known of a session that is gone."""
        self._levels.pop(uid, None)

    def away(self, since: datetime) -> timedelta:
        """Return the time since `since` in which the gateway could not be reached."""
        return self._outages.within(since, self._clock())

    async def run(self) -> None:
        """Follow the levels for ever, connecting anew with growing pauses."""
        pause = FIRST_BACKOFF_SECONDS
        while True:
            why = "the gateway ended the stream"
            try:
                await self._follow()
            except PASSING as error:
                why = str(error) or type(error).__name__
            pause = FIRST_BACKOFF_SECONDS if self.is_reachable else min(pause * 2, LONGEST_BACKOFF_SECONDS)
            self._note_away(why)
            await asyncio.sleep(pause)

    async def fetch_level(self, uid: str) -> Level | None:
        """Read one level from the store, now; None when the journal does not know the session.

        Raises:
            GatewayAwayError: The gateway does not answer.
        """
        try:
            request = await self._prepare(is_ca_known=self._tls is not None)
            async with self._http().get(f"{self._url}/{uid}", timeout=READ_TIMEOUT, **request) as answer:
                if answer.status == HTTPStatus.NOT_FOUND:
                    return None
                await _check(answer)
                level = Level.model_validate_json(await answer.read(), extra="ignore")  # a newer gateway adds fields
        except PASSING as error:
            raise GatewayAwayError(f"reading the level of session {uid} at {self._url} failed: {error}") from error
        self._keep(self._levels, level)
        return level

    async def take_over_source(self, uid: str) -> SourceAnswer | None:
        """Have a session take over what its spec names of another one; None when the journal does not know it yet.

        Raises:
            GatewayAwayError: The gateway does not answer.
        """
        try:
            request = await self._prepare(is_ca_known=self._tls is not None)
            async with self._http().post(f"{self._url}/{uid}/source", timeout=READ_TIMEOUT, **request) as answer:
                if answer.status == HTTPStatus.NOT_FOUND:
                    return None
                await _check(answer)
                return SourceAnswer.model_validate_json(await answer.read(), extra="ignore")
        except PASSING as error:
            raise GatewayAwayError(f"taking over the source of session {uid} at {self._url} failed: {error}") from error

    async def report_child(self, director_uid: str, request_id: str, report: ChildReport) -> None:
        """Say what became of a session that a director's agents asked for.

        Raises:
            GatewayAwayError: The gateway does not answer, or does not know the request.
        """
        url = f"{self._url}/{director_uid}/children/{request_id}"
        try:
            request = await self._prepare(is_ca_known=self._tls is not None)
            async with self._http().post(url, json=report.to_json(), timeout=READ_TIMEOUT, **request) as answer:
                await _check(answer)
        except PASSING as error:
            raise GatewayAwayError(f"reporting at {url} failed: {error}") from error

    async def fetch_spent(self, namespaces: Collection[str]) -> dict[str, Spent]:
        """Read what namespaces spent today, now.

        Raises:
            GatewayAwayError: The gateway does not answer.
        """
        asked, found = sorted(namespaces), dict[str, Spent]()
        try:
            for start in range(0, len(asked), NAMESPACES_ASKED):
                request = await self._prepare(is_ca_known=self._tls is not None)
                params = [("namespace", namespace) for namespace in asked[start : start + NAMESPACES_ASKED]]
                async with self._http().get(self._usage_url, params=params, timeout=READ_TIMEOUT, **request) as answer:
                    await _check(answer)
                    found |= DayUsage.model_validate_json(await answer.read(), extra="ignore").namespaces
        except PASSING as error:
            raise GatewayAwayError(f"reading today's usage at {self._usage_url} failed: {error}") from error
        return found

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _follow(self) -> None:
        """Read one stream to its end."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        fresh: dict[str, Level] = {}
        request = await self._prepare(is_ca_known=False)
        async with self._http().get(self._url, timeout=timeout, **request) as answer:
            await _check(answer)
            async for text in answer.content:
                line = LevelLine.model_validate_json(text, extra="ignore")
                self._heard_at = self._clock()
                if line.synced:
                    self._note_synced(fresh)
                elif line.level is not None and self.is_reachable:
                    self._learn(line.level)
                elif line.level is not None:
                    fresh[line.level.session_uid] = line.level

    async def _prepare(self, *, is_ca_known: bool) -> dict[str, Any]:
        """Return what a request needs: the token as it now stands, and trust in the CA, read anew unless known."""
        headers = {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}
        if not self._url.startswith("https:"):
            return {"headers": headers}
        certificate = self._authority.certificate if is_ca_known else await self._authority.fetch()
        if certificate is None:
            raise GatewayAwayError("the gateway has not published its CA yet")
        if self._tls is None or self._tls[0] != certificate:
            self._tls = (certificate, ssl.create_default_context(cadata=certificate))
        return {"headers": headers, "ssl": self._tls[1]}

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(read_bufsize=LINE_BYTES, trust_env=False)
        return self._session

    def _learn(self, level: Level) -> None:
        if self._keep(self._levels, level):
            self.on_level(level.session_uid)

    @staticmethod
    def _keep(levels: dict[str, Level], level: Level) -> bool:
        """Replace the level unless it is older than what is known; tell whether anything changed."""
        known = levels.get(level.session_uid)
        if known is not None and (level.head < known.head or level == known):
            return False
        levels[level.session_uid] = level
        return True

    def _note_synced(self, fresh: dict[str, Level]) -> None:
        changed = [uid for uid, level in fresh.items() if self._levels.get(uid) != level]
        self._levels = fresh
        self._outages.end(self._clock())
        self.is_reachable, self._is_away_logged = True, False
        self.was_tried.set()
        log.info("gateway reached", levels=len(fresh))
        self.on_reachable()
        for uid in changed:
            self.on_level(uid)

    def _note_away(self, why: str) -> None:
        was_reachable, self.is_reachable = self.is_reachable, False
        self._outages.begin(self._heard_at)
        self.was_tried.set()
        if not self._is_away_logged:
            log.warning("gateway away", url=self._url, error=why[:300])
            self._is_away_logged = True
        if was_reachable:
            self.on_reachable()


async def _check(answer: aiohttp.ClientResponse) -> None:
    """Refuse an answer other than 200, with the gateway's own words."""
    if answer.status != HTTPStatus.OK:
        words = (await answer.read())[:300].decode(errors="replace")
        raise GatewayAwayError(f"answer {answer.status} of {answer.url.path}: {words}")
