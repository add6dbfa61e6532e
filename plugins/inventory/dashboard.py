# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: dashboard
short_description: Take hosts, groups and what is declared from the dashboard
version_added: 0.3.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Asks the dashboard once for the whole inventory, and only whether it has changed if there is a copy of it.
  - When the dashboard is away, the last good copy is used, with a warning that says how old it is. A refused token, an unknown
    certificate or an answer that is not an inventory is an error, whether there is a copy or not.
  - Nothing of the data is a template. Text that looks like one is text.
  - What is encrypted with ansible-vault arrives encrypted, and needs the vault's password where it is used.
  - The file that names this plugin ends in C(.crosshost.yml), C(.crosshost.yaml) or C(.crosshost.json).
options:
  plugin:
    description: Always V(crosshost.network.dashboard).
    type: str
    required: true
    choices: [crosshost.network.dashboard]
  url:
    description: The dashboard, such as V(https://crosshost.example.net).
    type: str
    required: true
    env:
      - name: CROSSHOST_INVENTORY_URL
    ini:
      - section: inventory_dashboard
        key: url
  token_file:
    description:
      - A file with an API token of the dashboard that has the scope C(read). Only its owner should be able to read it.
      - One of O(token_file) and O(token) is needed.
    type: path
    env:
      - name: CROSSHOST_INVENTORY_TOKEN_FILE
    ini:
      - section: inventory_dashboard
        key: token_file
  token:
    description: The token itself. It appears in no output.
    type: str
    env:
      - name: CROSSHOST_INVENTORY_TOKEN
  ca_file:
    description: A file with the certificates of authorities that are trusted, in place of the system's.
    type: path
    ini:
      - section: inventory_dashboard
        key: ca_file
  timeout:
    description: Seconds after which an answer is no longer waited for.
    type: int
    default: 30
  cache_file:
    description:
      - Where the last good copy is kept. It is readable by its owner alone.
      - The default is a file of this dashboard's own in Ansible's home folder.
    type: path
  use_copy:
    description: Whether the last good copy is used when the dashboard is away.
    type: bool
    default: true
    env:
      - name: CROSSHOST_INVENTORY_USE_COPY
seealso:
  - plugin: crosshost.network.ipam
    plugin_type: lookup
  - plugin: crosshost.network.record
    plugin_type: callback
"""

EXAMPLES = r"""
# site.crosshost.yml; then: ansible-playbook -i site.crosshost.yml crosshost.network.site
plugin: crosshost.network.dashboard
url: https://crosshost.example.net
token_file: ~/.config/crosshost/token
"""

import contextlib
import hashlib
import http.client
import json
import os
import re
import ssl
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible import constants as C  # noqa: N812 - Ansible's own name for it
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.parsing.yaml.objects import AnsibleVaultEncryptedUnicode
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.unsafe_proxy import wrap_var

PATH = "/api/v1/inventory"
SUFFIXES = (".crosshost.yml", ".crosshost.yaml", ".crosshost.json")
ANSWER_MOST = 256 << 20  # bytes, unpacked
VAULT = "__ansible_vault"
# as the dashboard has it: nothing that a pattern takes for more than a name
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,252}\Z")


class AwayError(Exception):
    """The dashboard does not answer at the moment."""


class Copy(NamedTuple):
    """The inventory of the dashboard at ``url``, as `ansible-inventory --list` has it."""

    url: str
    etag: str
    revision: str
    listing: dict[str, Any]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Another place would get the token."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


def fetch(url: str, token: str, ca_file: str | None, timeout: float, copy: Copy | None) -> Copy:
    """The inventory as it is now; ``copy`` itself if that still is it. AwayError if it cannot be had at the moment, AnsibleError if
    it cannot be had at all."""
    request = urllib.request.Request(  # noqa: S310 - http and https alone
        url + PATH, headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"}
    )
    if copy is not None and copy.etag:
        request.add_header("If-None-Match", copy.etag)
    opener = urllib.request.build_opener(
        _NoRedirect(), urllib.request.HTTPSHandler(context=_context(ca_file))
    )
    try:
        with opener.open(request, timeout=timeout) as answer:
            data = answer.read(ANSWER_MOST)
            headers = answer.headers
    except urllib.error.HTTPError as error:
        if error.code == 304 and copy is not None:
            return copy
        raise _refused(url, error) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            reason = error.reason.verify_message
            raise AnsibleError(f"{url}: its certificate is not trusted: {reason}; see ca_file") from None
        raise AwayError(str(error.reason)) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AwayError(str(error) or type(error).__name__) from None
    if headers.get("Content-Length", str(len(data))) != str(len(data)):
        raise AwayError("its answer is not whole")
    if headers.get("Content-Encoding") == "gzip":
        data = _unpacked(data)
    return Copy(url, headers.get("ETag", ""), headers.get("X-Crosshost-Revision", "?"), _listing(url, data))


def _context(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise AnsibleError(f"ca_file: {ca_file}: {error.strerror or error}") from None


def _refused(url: str, error: urllib.error.HTTPError) -> AwayError | AnsibleError:
    """What an answer other than the inventory means."""
    text = error.reason
    with contextlib.suppress(ValueError, OSError, AttributeError):
        text = " ".join(str(json.loads(error.read(1 << 16))["detail"]).split())[:500]
    if error.code in (429, 500, 502, 503, 504):
        return AwayError(f"{error.code}: {text}")
    remedy = {401: "make a new token in the dashboard", 403: "the token needs the scope read"}.get(error.code)
    if 300 <= error.code < 400:
        remedy = f"it is at {error.headers.get('Location', 'another place')}; write that as url"
    return AnsibleError(f"{url}: {error.code}: {text}; {remedy or 'see whether url is right'}")


def _unpacked(data: bytes) -> bytes:
    try:
        packer = zlib.decompressobj(31)
        found = packer.decompress(data, ANSWER_MOST)
    except zlib.error as error:
        raise AwayError(f"its answer is damaged: {error}") from None
    if not packer.eof:
        raise AwayError("its answer is not whole")
    return found


def _listing(url: str, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("_meta"), dict):
        raise AnsibleError(f"{url}: its answer is not a dashboard's; see whether url is right")
    return found


def load(path: str, url: str) -> Copy | None:
    """The last good copy of what this dashboard said; None if there is none that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            found = Copy(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None
    right = isinstance(found.listing, dict) and isinstance(found.etag, str)
    return found if found.url == url and right else None


def save(path: str, copy: Copy) -> None:
    """Keep it in place of the one before, whole or not at all. OSError if that is not possible."""
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, mode=0o700, exist_ok=True)
    # readable by its owner alone from the first moment
    descriptor, part = tempfile.mkstemp(dir=folder, prefix=".crosshost-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(copy._asdict()))
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def literal(value: Any) -> Any:
    """The value with nothing in it that is a template, and with what is encrypted as Ansible has it."""
    if isinstance(value, dict):
        if value.keys() == {VAULT} and isinstance(value[VAULT], str):
            return AnsibleVaultEncryptedUnicode(value[VAULT])
        return {key: literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [literal(one) for one in value]
    return wrap_var(value) if isinstance(value, str) else value


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]  # Ansible has no types
    NAME = "crosshost.network.dashboard"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(SUFFIXES)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            copy = self._inventory()
            self._fill(copy.listing)
        except AnsibleError as error:
            raise AnsibleParserError(f"dashboard: {error.message}") from None

    def _inventory(self) -> Copy:
        url = self._url()
        file = self.get_option("cache_file") or os.path.join(
            str(C.config.get_config_value("ANSIBLE_HOME")),
            "crosshost",
            f"inventory-{hashlib.sha256(url.encode()).hexdigest()[:16]}.json",
        )
        copy = load(file, url)
        try:
            found = fetch(
                url, self._token(), self.get_option("ca_file"), float(self.get_option("timeout")), copy
            )
        except AwayError as error:
            if copy is None or not self.get_option("use_copy"):
                raise AnsibleError(
                    f"{url}: it is away ({error}), and no copy of its inventory is to be used or there"
                ) from None
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(os.path.getmtime(file)))
            self.display.warning(
                f"dashboard: {url} is away ({error}): this is its inventory of {since}, revision {copy.revision}"
            )
            return copy
        try:
            if found is copy:
                os.utime(file)  # how old the copy is, is told by it
            else:
                save(file, found)
        except OSError as error:
            self.display.warning(f"dashboard: {file}: no copy of the inventory is kept: {error.strerror}")
        return found

    def _url(self) -> str:
        url = str(self.get_option("url"))
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise AnsibleError(f"url: {url[:200]!r}: write it as https://crosshost.example.net")
        if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            self.display.warning(
                f"dashboard: the token for {parts.hostname} is sent without encryption; use https"
            )
        return url.rstrip("/")

    def _token(self) -> str:
        token = self.get_option("token")
        if not token:
            file = self.get_option("token_file")
            if not file:
                raise AnsibleError("token_file: name a file with an API token of the dashboard")
            try:
                with open(file, encoding="utf-8") as opened:
                    token = opened.read(4096)
            except (OSError, UnicodeDecodeError) as error:
                raise AnsibleError(
                    f"token_file: {file}: {getattr(error, 'strerror', None) or 'it is no text'}"
                ) from None
        token = str(token).strip()
        if not token or not (token.isascii() and token.isprintable()):
            raise AnsibleError("token: it is empty or has characters that no token has; copy it again")
        return token

    def _fill(self, listing: Mapping[str, Any]) -> None:
        """Groups first, each with its variables once, then what is in them."""
        groups = {name: _mapping(found) for name, found in listing.items() if name != "_meta"}
        for name, found in groups.items():
            self.inventory.add_group(_named(name))
            self._set(name, found.get("vars", {}))
        for host, variables in _mapping(listing["_meta"].get("hostvars", {})).items():
            self.inventory.add_host(_named(host))
            self._set(host, variables)
        for name, found in groups.items():
            for host in found.get("hosts", ()):
                self.inventory.add_host(_named(host), group=name)
            for child in found.get("children", ()):
                self.inventory.add_group(_named(child))
                self.inventory.add_child(name, child)

    def _set(self, name: str, variables: Any) -> None:
        for variable, value in _mapping(variables).items():
            self.inventory.set_variable(name, variable, literal(value))


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AnsibleError("its inventory is damaged: there is no mapping where one has to be")
    return value


def _named(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.match(name):
        raise AnsibleError(
            f"its inventory has {str(name)[:100]!r} for a name; the copy or the dashboard is damaged"
        )
    return name
