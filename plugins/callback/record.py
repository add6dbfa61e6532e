# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: record
type: aggregate
short_description: Record a run, task by task, for the dashboard
version_added: 0.3.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Writes what a run does on each host as JSON lines into a file, each line with its number.
  - With O(url), a small process of its own sends them to a dashboard while the run goes on. The file is the buffer. When the
    dashboard is away, the run is not held up, and the next recorded run sends what was left.
  - Results of tasks with C(no_log) are recorded as having been, without what they were. Passwords and private keys in
    results are hidden, those that Ansible knows and those that look like one.
  - A result has at most 64 KB in the record. Facts are not recorded, but for what M(crosshost.network.host_check) tells.
requirements:
  - to be enabled, by C(callbacks_enabled = crosshost.network.record) in ansible.cfg or by E(ANSIBLE_CALLBACKS_ENABLED)
options:
  file:
    description:
      - The file, which must not be there before or be empty.
      - With O(url), the default is a file of its own in O(spool), which is removed once the dashboard has all of it.
    type: path
    env:
      - name: CROSSHOST_RECORD_FILE
    ini:
      - section: callback_record
        key: file
  url:
    description: The dashboard, such as V(https://crosshost.example.net). Without it nothing is sent.
    type: str
    env:
      - name: CROSSHOST_RECORD_URL
    ini:
      - section: callback_record
        key: url
  token_file:
    description:
      - A file with an API token of the dashboard that has the scope C(executor). Only its owner should be able to read it.
      - Needed with O(url).
    type: path
    env:
      - name: CROSSHOST_RECORD_TOKEN_FILE
    ini:
      - section: callback_record
        key: token_file
  spool:
    description: The folder of records that have not been sent yet.
    type: path
    default: ~/.local/state/crosshost/record
    env:
      - name: CROSSHOST_RECORD_SPOOL
    ini:
      - section: callback_record
        key: spool
  mask_fd:
    description:
      - The number of a file descriptor from which a JSON list of texts is read, once. They are hidden in all results.
    type: int
    env:
      - name: CROSSHOST_RECORD_MASK_FD
"""

EXAMPLES = r"""
ansible.cfg: |
  [defaults]
  callbacks_enabled = crosshost.network.record

  [callback_record]
  url = https://crosshost.example.net
  token_file = ~/.config/crosshost/token
"""

import atexit
import getpass
import json
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__ as ansible_version
from ansible_collections.crosshost.network.plugins.plugin_utils import record_start
from ansible_collections.crosshost.network.plugins.plugin_utils.record_body import (
    CENSORED,
    Mask,
    body_of,
    is_secret,
)
from ansible_collections.crosshost.network.plugins.plugin_utils.record_facts import (
    report_of,
    seen_of,
    short_name,
)
from ansible_collections.crosshost.network.plugins.plugin_utils.record_file import RecordFile

_WORDS = {
    "ok": "ok",
    "changed": "changed",
    "failures": "failed",
    "unreachable": "unreachable",
    "skipped": "skipped",
}


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "crosshost.network.record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._file: RecordFile | None = None
        self._process = os.getpid()
        self._mask = Mask()
        self._tasks: dict[str, int] = {}  # numbers by uuid
        self._begun: dict[tuple[str, str], float] = {}
        self._play = ""
        self._check = False
        self._uuid = str(uuid.uuid4())
        self._sent = ""  # the record's place in the spool, if it is to be sent

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Any = None) -> None:
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        try:
            self._file = self._opened()
        except (OSError, ValueError) as error:
            self.disabled = True
            reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            self._display.warning(f"record: this run is not recorded: {reason}")
            return
        atexit.register(self._end)

    def _opened(self) -> RecordFile:
        path, url, token_file = (self.get_option(name) for name in ("file", "url", "token_file"))
        if url and not token_file:
            raise ValueError("token_file: the dashboard wants a token; name a file that has one")
        if not path and not url:
            raise ValueError("neither file nor url is set; set one of them, or do not enable the plugin")
        if url:
            self._sent = record_start.spooled(self.get_option("spool"), url, self._uuid, path)
        path = path or self._sent
        if os.path.exists(path) and os.path.getsize(path):
            raise ValueError(f"{path}: it holds another record; name another file")
        descriptor = self.get_option("mask_fd")
        if descriptor is not None:
            with os.fdopen(descriptor, encoding="utf-8") as secrets:
                self._mask.learn(json.load(secrets))
        return RecordFile(path)

    def _add(self, kind: str, **event: Any) -> None:
        if self._file is not None:
            self._file.add({"kind": kind, **event})

    # What Ansible calls, in the order of a run.

    def v2_playbook_on_start(self, playbook: Any) -> None:
        given = context.CLIARGS
        self._check = bool(given.get("check"))
        name = os.path.basename(str(playbook._file_name))
        self._add(
            "start", uuid=self._uuid, playbook=name, check=self._check, diff=bool(given.get("diff")),
            limit=str(given.get("subset") or ""), tags=_tags(given), forks=int(given.get("forks") or 0),
            ansible=ansible_version, user=_user(),
        )  # fmt: skip
        if self._sent:
            record_start.tailer(self._sent, self.get_option("url"), self.get_option("token_file"))

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = str(play.get_name())[:300]
        self._mask.learn(_passwords(play))
        self._add("play", name=self._mask.text(self._play))

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        del is_conditional
        self._number(task)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._number(task)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._begun[(host.name, task._uuid)] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._result(result, "changed" if _result_of(result).get("changed") else "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._result(result, "failed", **({"ignored": True} if ignore_errors else {}))

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result(result, "unreachable")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._result(result, "skipped")

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._item(result, "changed" if _result_of(result).get("changed") else "ok")

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._item(result, "failed")

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        self._item(result, "skipped")

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._add("warning", text="no hosts matched: the play is skipped")

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        self._add("warning", text="no hosts are left: the play ends here")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        hosts = {}
        for host in sorted(stats.processed):
            counts = stats.summarize(host)
            hosts[host] = {word: counts[name] for name, word in _WORDS.items()}
        self._add("stats", hosts=hosts)
        self._end()

    def _end(self) -> None:
        """Also called as the process ends, for a run that was interrupted has no statistics."""
        if self._file is None or os.getpid() != self._process:
            return
        self._add("end")
        lost = self._file.close()
        if lost:
            self._display.warning(
                f"record: {self._file.path}: {lost} events could not be written; make room on the disk"
            )
        self._file = None

    def _number(self, task: Any) -> int:
        """The task's number; at its first mention it is recorded."""
        known = self._tasks.get(task._uuid)
        if known is not None:
            return known
        number = self._tasks[task._uuid] = len(self._tasks) + 1
        name = self._mask.text(str(task.get_name()))[:300]
        self._add("task", task=number, name=name, action=_action(task)[:200], play=self._play)
        return number

    def _result(self, result: Any, status: str, **more: Any) -> None:
        task, host, found = result._task, result._host.name, _result_of(result)
        number = self._number(task)
        begun = self._begun.pop((host, task._uuid), None)
        if begun is not None:
            more["ms"] = round((time.monotonic() - begun) * 1000)
        action = _action(task)
        hidden = _is_hidden(task, found)
        body = dict(CENSORED) if hidden else body_of(found, status, action, self._mask)
        if body is not None:
            more["body"] = body
        self._add("result", task=number, host=host, status=status, **more)
        if not hidden and status in ("ok", "changed"):
            self._facts(host, short_name(action), found)

    def _item(self, result: Any, status: str) -> None:
        """One turn of a loop."""
        task, found = result._task, _result_of(result)
        number = self._number(task)
        event: dict[str, Any] = {"task": number, "host": result._host.name, "status": status}
        if _is_hidden(task, found):
            event |= {"item": "", "body": dict(CENSORED)}
        else:
            label = found.get("_ansible_item_label", found.get("item"))
            event["item"] = str(self._mask.value(label))[:200]
            body = body_of(found, status, _action(task), self._mask)
            if body is not None:
                event["body"] = body
        self._add("result", **event)

    def _facts(self, host: str, module: str, found: Mapping[str, Any]) -> None:
        if module == "host_check":
            report = report_of(found)
            if report is not None:
                self._add("report", host=host, body=report)
        for name, items in seen_of(module, found, self._check):
            self._add("seen", host=host, module=name, items=items)


def _result_of(result: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = result._result if not hasattr(result, "result") else result.result
    return found


def _action(task: Any) -> str:
    return str(getattr(task, "resolved_action", None) or task.action)


def _is_hidden(task: Any, found: Mapping[str, Any]) -> bool:
    return "censored" in found or bool(found.get("_ansible_no_log")) or task.no_log is True


def _tags(given: Mapping[str, Any]) -> str:
    return ",".join(tag for tag in given.get("tags") or () if tag != "all")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user has no name
        return str(os.getuid())


def _passwords(play: Any) -> Iterable[str]:
    """The secrets that Ansible knows in this play: of the vault, of extra variables, and the inventory's for its hosts."""
    manager = play.get_variable_manager()
    for secret in (getattr(pair[1], "bytes", None) for pair in play.get_loader()._vault.secrets or ()):
        if secret:
            yield secret.decode(errors="replace")
    inventory = getattr(manager, "_inventory", None)
    places: list[Mapping[str, Any]] = [manager.extra_vars]
    if inventory is not None:
        places += [group.vars for group in inventory.groups.values()]
        places += [host.vars for host in inventory.hosts.values()]
    for variables in places:
        for name, value in variables.items():
            if is_secret(str(name)) and isinstance(value, str):
                yield str.__str__(value)
