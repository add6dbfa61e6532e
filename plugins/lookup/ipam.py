# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ipam
short_description: Have the dashboard allocate addresses, subnets, VNIs or ports
version_added: 0.3.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Gives what the dashboard's pools have allocated to O(owner) under each of the names. What is not there yet is allocated, the next
    free one or O(value). The same owner and name get the same again, in every run and on every controller.
  - What a network, an endpoint or a service needs is allocated by its declaration in the dashboard. This is for what is declared
    elsewhere.
  - In check mode, and with O(state=read), nothing is allocated. What is not there is an error then.
  - Nothing is released. That is done in the dashboard.
options:
  _terms:
    description: Names of allocations of the owner, each at most 98 characters long.
    type: list
    elements: str
    required: true
  owner:
    description: Whose they are, such as the name of a host or a project. At most 80 characters.
    type: str
    required: true
  state:
    description: V(allocated) allocates what is not there yet. V(read) does not.
    type: str
    choices: [allocated, read]
    default: allocated
  purpose:
    description:
      - What they are for, which says from which pools they come. One of V(overlay4), V(overlay6), V(bridge4), V(bridge6),
        V(ingress4), V(ingress6), V(gwbridge4), V(gwbridge6), V(vni), V(port).
      - Exactly one of O(purpose), O(within) and O(pool_id) is needed for allocating.
    type: str
  within:
    description: The subnet that addresses are of, or a part of one, as a CIDR block.
    type: str
  pool_id:
    description: The pool that they come from, by its number in the dashboard.
    type: int
  scope:
    description: V(cluster), or V(host NAME) for what is one host's own.
    type: str
    default: cluster
  value:
    description: Exactly this one, such as V(10.0.0.9) or V(8080/udp). There can only be one name then.
    type: str
  length:
    description: The prefix length of subnets, if it is not the one that their pool has.
    type: int
  count:
    description: So many addresses, VNIs or ports in a row, a power of two.
    type: int
    default: 1
  avoid:
    description: Values and CIDR blocks that automatic choice leaves out.
    type: list
    elements: str
    default: []
  note:
    description: A note for people, kept with a new allocation.
    type: str
    default: ""
  detail:
    description: Give all that the dashboard says of each, and not the value alone.
    type: bool
    default: false
  url:
    description: The dashboard, such as V(https://crosshost.example.net).
    type: str
    required: true
    env:
      - name: CROSSHOST_IPAM_URL
    ini:
      - section: lookup_ipam
        key: url
    vars:
      - name: crosshost_dashboard_url
  token_file:
    description:
      - A file with an API token of the dashboard that has the scope C(ipam:write), or C(read) with O(state=read). Only its owner
        should be able to read it.
      - One of O(token_file) and O(token) is needed.
    type: path
    env:
      - name: CROSSHOST_IPAM_TOKEN_FILE
    ini:
      - section: lookup_ipam
        key: token_file
    vars:
      - name: crosshost_dashboard_token_file
  token:
    description: The token itself, for example out of a vault. It appears in no output.
    type: str
    vars:
      - name: crosshost_dashboard_token
  ca_file:
    description: A file with the certificates of authorities that are trusted, in place of the system's.
    type: path
    ini:
      - section: lookup_ipam
        key: ca_file
    vars:
      - name: crosshost_dashboard_ca_file
  timeout:
    description: Seconds after which an answer is no longer waited for. It is asked three times before that is an error.
    type: int
    default: 15
seealso:
  - plugin: crosshost.network.record
    plugin_type: callback
"""

EXAMPLES = r"""
- name: A VNI for each network that another tool makes
  ansible.builtin.debug:
    msg: "{{ query('crosshost.network.ipam', 'red', 'blue', owner='datacenter', purpose='vni') }}"

- name: An address for this host in a subnet, the same in every run
  ansible.builtin.set_fact:
    storage_address: "{{ lookup('crosshost.network.ipam', 'storage', owner=inventory_hostname, within='10.40.0.0/24') }}"

- name: What has been allocated before, and nothing new
  ansible.builtin.debug:
    msg: "{{ lookup('crosshost.network.ipam', 'storage', owner=inventory_hostname, state='read', detail=true).created_at }}"
"""

RETURN = r"""
_raw:
  description:
    - For each name its value, an address such as V(10.40.0.7), a subnet such as V(10.7.0.0/24), a VNI such as V(1048577), a port
      such as V(30000/tcp), or of several in a row the first and the last with a dash between.
    - With O(detail) a dictionary, with C(value), C(id), C(pool), C(scope), C(state), C(note), C(who), C(created_at) and more.
  type: list
  elements: raw
"""

import ipaddress
import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

API = "/api/v1/ipam/allocations"
TRIES = 3
PAUSE = 0.5  # seconds before the second try, doubled before the third
ANSWER_MOST = 1 << 20  # bytes
display = Display()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Another place would get the token."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


class Dashboard:
    """The API of one dashboard. AnsibleError, which never holds the token, says what went wrong."""

    def __init__(self, url: str, token: str, ca_file: str | None, timeout: float) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise AnsibleError(f"ipam: url: {_shown(url)!r}: write it as https://crosshost.example.net")
        if not (token.isascii() and token.isprintable()):
            raise AnsibleError("ipam: token: it has characters that no token has; copy it again")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            display.warning(f"ipam: the token for {parts.hostname} is sent without encryption; use https")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._token = token
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise AnsibleError(f"ipam: ca_file: {ca_file}: {error.strerror}") from None
        self._opener = urllib.request.build_opener(
            _NoRedirect(), urllib.request.HTTPSHandler(context=context)
        )

    def allocate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The same again, if the owner has it already: so a request that got no answer can be sent again."""
        return self._call(API, asked)

    def read(self, owner: str, name: str) -> dict[str, Any] | None:
        query = urllib.parse.urlencode({"owner_type": "manual", "owner_id": owner, "name": name, "limit": 1})
        items = self._call(f"{API}?{query}").get("items")
        return items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else None

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        for attempt in range(TRIES):
            try:
                return self._once(path, body)
            except urllib.error.HTTPError as error:
                text = _problem(error)
                if error.code not in (429, 502, 503, 504) or attempt == TRIES - 1:
                    raise AnsibleError(f"ipam: {self.url}: {error.code}: {text}") from None
            except (OSError, TimeoutError) as error:
                if attempt == TRIES - 1:
                    reason = getattr(error, "reason", None) or error
                    raise AnsibleError(f"ipam: {self.url}: it cannot be reached: {reason}") from None
            time.sleep(PAUSE * 2**attempt)
        raise AssertionError("unreachable")

    def _once(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - http and https alone
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        with self._opener.open(request, timeout=self.timeout) as answer:
            data = answer.read(ANSWER_MOST)
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise AnsibleError(f"ipam: {self.url}: its answer is not a dashboard's; see whether url is right")
        return found


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no types
    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        names = [str(term) for term in terms]
        only_read = self.get_option("state") == "read" or bool((variables or {}).get("ansible_check_mode"))
        self._refuse(names, only_read)
        dashboard = Dashboard(
            self.get_option("url"),
            self._token(),
            self.get_option("ca_file"),
            float(self.get_option("timeout")),
        )
        found = [self._one(dashboard, name, only_read) for name in names]
        return found if self.get_option("detail") else [one["value"] for one in found]

    def _one(self, dashboard: Dashboard, name: str, only_read: bool) -> dict[str, Any]:
        owner = self.get_option("owner")
        if not only_read:
            found = dashboard.allocate(self._asked(name))
        else:
            read = dashboard.read(owner, name)
            if read is None:
                hint = (
                    "run without --check once" if self.get_option("state") != "read" else "allocate it first"
                )
                raise AnsibleError(f"ipam: {owner}: {name}: it is not allocated; {hint}")
            found = read
        if not isinstance(found.get("value"), str):
            raise AnsibleError(
                f"ipam: {dashboard.url}: its answer is not a dashboard's; see whether url is right"
            )
        return found

    def _asked(self, name: str) -> dict[str, Any]:
        options = (
            "owner",
            "purpose",
            "within",
            "pool_id",
            "scope",
            "value",
            "length",
            "count",
            "avoid",
            "note",
        )
        values = {option: self.get_option(option) for option in options}
        return {"name": name, **{option: value for option, value in values.items() if value is not None}}

    def _refuse(self, names: list[str], only_read: bool) -> None:
        if len(names) > 1 and self.get_option("value") is not None:
            raise AnsibleError(f"ipam: value: {len(names)} names cannot have the same one; give one name")
        told = [name for name in ("purpose", "within", "pool_id") if self.get_option(name) is not None]
        if not only_read and len(told) != 1:
            raise AnsibleError(
                f"ipam: give exactly one of purpose, within and pool_id; given: {', '.join(told) or 'none'}"
            )

    def _token(self) -> str:
        token, path = self.get_option("token"), self.get_option("token_file")
        if token:
            return str(token).strip()
        if not path:
            raise AnsibleError("ipam: token_file: give a file with an API token of the dashboard, or token")
        try:
            with open(os.path.expanduser(path), encoding="utf-8") as file:
                return file.read(4096).strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a text"
            raise AnsibleError(f"ipam: token_file: {path}: {reason}") from None


def _problem(error: urllib.error.HTTPError) -> str:
    """What the dashboard says of it, in one line."""
    try:
        body = json.loads(error.read(ANSWER_MOST))
    except (OSError, ValueError):
        body = None
    detail = body.get("detail") if isinstance(body, dict) else None
    text = detail if isinstance(detail, str) else str(error.reason)
    return " ".join(text.split())[:500]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(url: str) -> str:
    """Without what may be a password."""
    return url.rpartition("@")[2][:200]
