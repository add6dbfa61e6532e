# SPDX-License-Identifier: GPL-3.0-or-later
"""Schemathesis on the whole API: whatever is sent, the answer is no fault of ours, and is what the description says: its status,
its type, its shape. A few examples for each operation; more with `-m slow`, many with HYPOTHESIS_PROFILE=thorough as well."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import requests
from crosshost_webui import server
from crosshost_webui.app import create_app
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from crosshost_webui.web import openapi, reference
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.webui.support_accounts import make_token, make_user

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import checks
    from schemathesis.core.failures import FailureGroup
    from schemathesis.core.result import Ok
    from schemathesis.generation import GenerationMode

PARTS = 4  # of the operations, so that several processes can share them
CHECKS = (
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
)
# Answered without an end as long as a run goes on; tests of its own look at it.
STREAMS = re.compile(r"/stream$")


class Things(NamedTuple):
    """A state with one of each kind that the API makes, out of the examples of its description. ``names``: what they are called."""

    state: State
    names: tuple[str, ...]


@pytest.fixture
def things(settings: Settings) -> Iterator[Things]:
    state = server.make_state(settings)
    make_user(state, "somebody", "viewer")
    make_token(state, "somebody", ["read"])
    make_user(state, "ann", "admin")
    names = {"all", "host"}
    app = create_app(state)
    with TestClient(app, base_url="http://testserver") as client:
        client.headers.update(make_token(state, "ann", ["admin"]))
        for group in reference.groups(openapi.document(app)):
            for one in group.operations:
                if one.method == "POST" and one.example and "{" not in one.path:
                    answer = client.post(
                        one.path, content=one.example, headers={"Content-Type": "application/json"}
                    )
                    assert answer.status_code < 500, (one.path, answer.text)
                    if answer.status_code == 201:
                        names.add(str(answer.json().get("name", "x")))
    assert len(names) > 8
    yield Things(state, tuple(sorted(names)))
    state.close()


def send_all(things: Things, part: int, examples: int) -> list[str]:
    """What went wrong, an operation a line."""
    state, names = things
    app = create_app(state)
    schema = schemathesis.openapi.from_dict(openapi.document(app))
    wrong = []
    with TestClient(
        app, base_url="http://testserver", follow_redirects=False, raise_server_exceptions=False
    ) as client:
        client.headers.update(make_token(state, "ann", ["admin"]))
        found = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
        for operation in found[part::PARTS]:
            if STREAMS.search(operation.path):
                continue
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                told = try_one(client, operation, mode, examples, names)
                if told:
                    wrong.append(f"{operation.label} ({mode.value}): {told}")
    return wrong


def try_one(
    client: TestClient, operation: Any, mode: GenerationMode, examples: int, names: Sequence[str]
) -> str:
    try:
        strategy = operation.as_strategy(generation_mode=mode)
    except Exception as error:  # nothing can be wrong about an operation that takes nothing
        return "" if mode is GenerationMode.NEGATIVE else str(error)

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    @given(case=strategy, known=st.booleans(), name=st.sampled_from(names))
    def check(case: Any, known: bool, name: str) -> None:
        if known and case.path_parameters:  # an object that there is, more often than by chance
            for key in case.path_parameters:
                case.path_parameters[key] = name if key in ("name", "kind") else 1
        given = case.as_transport_kwargs(base_url="http://testserver")
        wanted = ("method", "url", "headers", "params", "data", "json", "files")
        sent = requests.Request(**{key: given[key] for key in wanted if key in given}).prepare()
        headers = {
            key: value
            for key, value in sent.headers.items()
            if key.lower() not in ("authorization", "cookie")
        }
        answer = client.request(str(sent.method), str(sent.url), headers=headers, content=sent.body)
        answer.request.read()  # what was sent is part of what is told when something is wrong
        case.validate_response(answer, checks=list(CHECKS))

    try:
        check()
    except FailureGroup as error:
        return " | ".join(" ".join(str(one).split()) for one in error.exceptions)[:1500]
    except Exception as error:
        if type(error).__name__ in ("Unsatisfiable", "SkipTest"):
            return ""
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:1500]
    return ""


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_that_is_sent_is_answered_otherwise_than_described(things: Things, part: int) -> None:
    wrong = send_all(things, part, 3)
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_the_same_at_length(things: Things, part: int) -> None:
    wrong = send_all(things, part, 50 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 10)
    assert not wrong, "\n" + "\n".join(wrong)
