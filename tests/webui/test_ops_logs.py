# SPDX-License-Identifier: GPL-3.0-or-later
"""Log lines: one an entry, with the request's id, and without what opens anything."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from crosshost_webui.operations import logs
from hypothesis import given
from hypothesis import strategies as st

TOKEN = f"xh_{'a' * 16}.{'S' * 43}"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards."""
    found = logging.getLogger()
    before, level = found.handlers[:], found.level
    ours = logging.getLogger("crosshost_webui")
    our_level = ours.level
    yield found
    found.handlers[:], found.level = before, level
    ours.setLevel(our_level)


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    found = logging.LogRecord("crosshost_webui.test", logging.INFO, "", 0, message, args, None)
    found.__dict__.update(extra)
    return found


def test_a_text_line() -> None:
    found = logs.Text().format(record("GET %s", "/hosts", request_id="ab12", address="192.0.2.1", ms=3.1))
    moment, _, rest = found.partition(" ")
    assert moment.endswith("Z") and "T" in moment
    assert rest == "INFO crosshost_webui.test: GET /hosts request_id=ab12 address=192.0.2.1 ms=3.1"


def test_a_json_line() -> None:
    found = json.loads(logs.Json().format(record("GET %s", "/hosts", request_id="ab12", ms=3.1)))
    del found["at"]
    assert found == {
        "level": "info", "logger": "crosshost_webui.test", "message": "GET /hosts", "request_id": "ab12", "ms": 3.1,
    }  # fmt: skip


def test_the_id_of_the_request_that_is_answered() -> None:
    token = logs.request_id.set("cd34")
    try:
        assert "request_id=cd34" in logs.Text().format(record("something"))
        assert json.loads(logs.Json().format(record("something")))["request_id"] == "cd34"
    finally:
        logs.request_id.reset(token)


@given(st.text())
def test_what_comes_from_outside_stays_in_its_line(text: str) -> None:
    line = logs.Text().format(record("GET %s", text))
    assert line.isprintable()
    whole = logs.Json().format(record("GET %s", text))
    assert whole.isascii() and whole.isprintable()
    assert json.loads(whole)["message"].startswith("GET ")


@pytest.mark.parametrize("form", [logs.Text(), logs.Json()])
@pytest.mark.parametrize(
    ("told", "hidden"),
    [
        (f"token {TOKEN} was used", TOKEN.partition(".")[2]),
        ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
        ("cannot reach postgresql+psycopg://xh:pass%20word@db/xh", "pass%20word"),
    ],
)
def test_what_opens_something_is_not_in_it(form: logging.Formatter, told: str, hidden: str) -> None:
    assert hidden not in form.format(record("%s", told))
    try:
        raise RuntimeError(told)
    except RuntimeError as error:
        line = record("it failed")
        line.exc_info = (RuntimeError, error, error.__traceback__)
    found = form.format(line)
    assert "RuntimeError" in found
    assert hidden not in found


def test_levels(root: logging.Logger) -> None:
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    logging.getLogger("crosshost_webui.access").info("shown")
    logging.getLogger("crosshost_webui.access").debug("not shown")
    logging.getLogger("sqlalchemy.engine").info("not shown")
    logging.getLogger("uvicorn.error").warning("shown")
    assert [line.rpartition(" ")[2] for line in stream.getvalue().splitlines()] == ["shown", "shown"]
    assert len(root.handlers) == 1


def test_a_statement_that_fails_shows_no_values(database: object) -> None:
    from crosshost_webui.db.engine import Database
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    assert isinstance(database, Database)
    with pytest.raises(DBAPIError) as error, database.write() as s:
        s.execute(text("INSERT INTO nothing VALUES (:value)"), {"value": "of a secret"})
    assert "of a secret" not in str(error.value)
