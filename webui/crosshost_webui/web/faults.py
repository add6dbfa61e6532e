# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that no domain has foreseen, as problems: what the database refuses, and, in the end, faults of ours."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problem import Conflict, Fault, Invalid, Problem, Unavailable

# Raised by a driver for a value that its database cannot hold: a number of more than 64 bits, half a surrogate pair.
UNFIT = (OverflowError, UnicodeEncodeError)
SOON = {"Retry-After": "5"}
# primary result codes of SQLite: https://www.sqlite.org/rescode.html
_SQLITE = {
    5: "it is busy with another write; try again in a few seconds",
    6: "it is busy with another write; try again in a few seconds",
    8: "its file or folder cannot be written; an administrator has to look at the disk",
    10: "reading or writing its file failed; an administrator has to look at the disk",
    11: "its file is damaged; an administrator has to restore a backup",
    13: "the disk is full; an administrator has to make room",
    14: "its file cannot be opened; an administrator has to look at the disk",
    26: "its file is damaged; an administrator has to restore a backup",
}
# classes of SQLSTATE: https://www.postgresql.org/docs/15/errcodes-appendix.html
_POSTGRESQL = {
    "08": "it cannot be reached; try again in a few seconds",
    "40": "it is busy with another write; try again in a few seconds",
    "53": "it has no room or no connection left; an administrator has to look at it",
    "57": "it stops or was interrupted; try again in a few seconds",
    "58": "its server has a fault; an administrator has to look at it",
}
log = logging.getLogger("crosshost_webui")
Respond = Callable[[Request, Problem], Response]


def problem_of(error: Exception) -> Problem | None:
    """What a caller is told of an error of the database; None: it is a fault of ours."""
    if isinstance(error, UNFIT):
        return Invalid(f"the request holds a value that cannot be stored: {_line(error)}; correct it")
    if isinstance(error, PoolTimeout):
        return Unavailable(
            "too many requests are waiting for the database; try again in a few seconds", headers=SOON
        )
    if not isinstance(error, DBAPIError):
        return None
    if isinstance(error, IntegrityError):
        return Conflict(
            "it clashes with what somebody else has stored meanwhile; read it again and repeat the change"
        )
    state = str(getattr(error.orig, "sqlstate", None) or "")
    code = int(getattr(error.orig, "sqlite_errorcode", 0) or 0) & 0xFF
    told = _SQLITE.get(code) or _POSTGRESQL.get(state[:2])
    if told is None and error.connection_invalidated:
        told = _POSTGRESQL["08"]
    if told is not None:
        return Unavailable(f"the database: {told}; nothing was stored", headers=SOON)
    if type(error).__name__ == "DataError" or state[:2] == "22":
        return Invalid(f"the request holds a value that cannot be stored: {_line(error.orig)}; correct it")
    if (
        not state and not code and type(error).__name__ == "OperationalError"
    ):  # PostgreSQL cannot be reached at all
        return Unavailable(f"the database: {_POSTGRESQL['08']}; nothing was stored", headers=SOON)
    return None


class Faults:
    """Answers what nothing inside has answered. Starlette's own handler for it stands outside of everything else, where the
    answer would have neither headers nor the request's id."""

    def __init__(self, app: ASGIApp, respond: Respond, count: Callable[[], None]) -> None:
        self.app = app
        self.respond = respond
        self.count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            found = problem_of(error)
            if found is None:
                log.error("fault in %s %s", scope["method"], scope["path"], exc_info=error)
                self.count()
                found = Fault(
                    "this is a fault of the dashboard; its log has the details under the request's id"
                )
            else:
                log.warning("%s %s: %s", scope["method"], scope["path"], _line(error))
            if begun:
                raise  # the answer is under way; ending the connection is all that tells of it
            await self.respond(Request(scope, receive), found)(scope, receive, send)


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200]
