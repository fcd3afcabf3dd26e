"""Sessions as files: out of one journal, into another."""

import asyncio
import re
import tempfile
from typing import IO, Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlalchemy.exc import IntegrityError

from agentsessions.api.model import ApiModel
from agentsessions.gateway import paths
from agentsessions.gateway.archives import MEDIA_TYPE, read_file, receive_file, write_archive
from agentsessions.gateway.audit import Attempt, attempt_of
from agentsessions.gateway.auth import SESSIONS
from agentsessions.gateway.lookup import (
    SessionId,
    TheGateway,
    TheNamespace,
    TheUser,
    find_session,
)
from agentsessions.gateway.message_acts import MESSAGES
from agentsessions.gateway.metrics import Stream
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError, not_found
from agentsessions.gateway.streams import LiveResponse
from agentsessions.journal import audit
from agentsessions.journal.acts import Act
from agentsessions.journal.archive import ArchiveRefused, SessionKnown, check, put
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.writer import Work

IMPORT: Final = f"{SESSIONS}/import"
FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "JSON Lines, compressed with zstd.", "content": {MEDIA_TYPE: {}}}
}
BODY: Final = {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}}

UPLOAD_SECONDS: Final = 300
UID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

router = APIRouter(tags=["history"])


class Imported(ApiModel):
    """A session that was imported."""

    uid: str
    """Its uid, as it was."""
    namespace: str
    """Where it can be read now."""
    name: str
    """Its name."""
    head: int
    """Entries of its journal."""


@router.get(f"{paths.SESSIONS}/{{session}}/export", response_class=Response, responses=FILE)
async def export_session(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.EXPORT))],
) -> Response:
    """Get a session's journal as one file (needs `get` on `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace, resource=MESSAGES)
    gateway.streams.refuse_more(user.name)
    await attempt.record(attempt.done(row))
    source = gateway.streams.count(user.name, write_archive(gateway.store, row.uid))
    response = LiveResponse(source, MEDIA_TYPE, stream=Stream.EXPORT)
    response.headers["Content-Disposition"] = f'attachment; filename="{row.uid}.jsonl.zst"'
    return response


@router.post(paths.IMPORT, status_code=201, openapi_extra=BODY)
async def import_session(
    request: Request,
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.IMPORT))],
) -> Imported:
    """Take a session's file into the journal, to be read in this namespace (needs `create` on `agentsessions/import`).

    It is checked from its first line to its last; the session is then shown as one whose resource is gone.
    """
    await gateway.auth.require(user, "create", IMPORT, namespace)
    uid = await gateway.watch.namespace_uid(namespace)
    if uid is None:
        raise not_found(f"There is no namespace {namespace!r} to read the session in.")
    async with gateway.importing:  # one at a time: files lie on a small disk
        return await _take_in(request, attempt, uid)


def _check(file: IO[bytes]) -> None:
    """Refuse a file that is damaged, or of a session that can be taken for another by its name."""
    uid = check(read_file(file)).session["uid"]
    if not UID.fullmatch(uid):
        raise ArchiveRefused(f"{uid!r} is no uid of a resource")


async def _take_in(request: Request, attempt: Attempt, uid: str) -> Imported:
    with tempfile.TemporaryFile() as file:

        def take(work: Work) -> SessionRow:
            row = put(work, read_file(file), attempt.namespace, uid)
            audit.append(work, attempt.done(row))
            return row

        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                await receive_file(request.stream(), file)
            # First all of it: the journal waits for nobody's file.
            await asyncio.to_thread(_check, file)
            row = await attempt.gateway.store.write(take)
        except TimeoutError as error:
            detail = f"The file did not come within {UPLOAD_SECONDS} s. Send it again over a faster connection."
            raise ProblemError(ProblemCode.TOO_SLOW, detail) from error
        except ArchiveRefused as refusal:
            raise ProblemError(ProblemCode.BAD_ARCHIVE, f"{refusal}. Export the session again.") from refusal
        except SessionKnown as refusal:
            raise ProblemError(ProblemCode.SESSION_EXISTS, f"{refusal}.") from refusal
        except IntegrityError as error:
            detail = "The file has a row twice, or a message that the journal has of another session."
            raise ProblemError(ProblemCode.BAD_ARCHIVE, detail) from error
    return Imported(uid=row.uid, namespace=row.namespace, name=row.name, head=row.usage.head)
