# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is changed over the API is in the audit log, under the request's id; what fails, or only asks, is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from crosshost_webui.app import create_app
from crosshost_webui.audit.models import AuditEntry
from crosshost_webui.state import State
from crosshost_webui.web import openapi, reference
from crosshost_webui.web.reference import Operation
from sqlalchemy import func, select
from starlette.testclient import TestClient

from tests.webui.support_accounts import make_token, make_user

# Posts that only ask, and the record of a run, of which the run itself is the log.
SILENT = {"/api/v1/validate", "/api/v1/runs/{run_id}/events", "/api/v1/runs/{run_id}/output"}
JSON = {"Content-Type": "application/json", "If-Match": "*"}


@pytest.fixture
def caller(state: State) -> Iterator[TestClient]:
    make_user(state, "somebody", "viewer")
    make_user(state, "ann", "admin")
    with TestClient(create_app(state), base_url="http://testserver", follow_redirects=False) as found:
        found.headers.update(make_token(state, "ann", ["admin"]))
        yield found


def changing(client: TestClient) -> list[Operation]:
    """What makes things first, then what changes them, then what removes them."""
    found = [one for group in reference.groups(openapi.document(client.app)) for one in group.operations]  # type: ignore[arg-type]
    order = ["POST", "PUT", "PATCH", "DELETE"]
    return sorted((one for one in found if one.method in order), key=lambda one: order.index(one.method))


def entries(state: State, request_id: str) -> int:
    with state.db.read() as s:
        query = select(func.count()).select_from(AuditEntry).where(AuditEntry.request_id == request_id)
        return s.scalar(query) or 0


def test_every_change_over_the_api_is_recorded(caller: TestClient, state: State) -> None:
    names: dict[str, str] = {}
    changed, wrong = 0, []
    for number, one in enumerate(changing(caller)):
        collection = one.path.partition("/{")[0]
        path = one.path.replace("{name}", names.get(collection, "x")).replace("{kind}", "host")
        while "{" in path:
            path = path[: path.index("{")] + "1" + path[path.index("}") + 1 :]
        request_id = f"audit-{number}"
        before = caller.get(path).headers.get("etag") if one.method in ("PUT", "PATCH") else None
        answer = caller.request(
            one.method, path, content=one.example, headers={**JSON, "X-Request-Id": request_id}
        )
        assert answer.status_code < 500, (one, answer.text)
        if answer.status_code == 201:
            names[collection] = str(answer.json().get("name", "x"))
        count = entries(state, request_id)
        is_done = answer.status_code in (200, 201, 204) and one.path not in SILENT
        if before is not None and answer.headers.get("etag") == before:
            continue  # it was so already
        changed += is_done
        if is_done is (count == 0):
            wrong.append(f"{one.method} {one.path}: {answer.status_code}, {count} entries")
    assert not wrong, "\n" + "\n".join(wrong)
    assert changed >= 20
