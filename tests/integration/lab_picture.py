# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a host: two are equal exactly when nothing was touched in between."""

from __future__ import annotations

import json
from typing import Any

# One look at all that a module could touch, indexes and handles included: what was made anew shows.
SNAPSHOT = r"""
for ns in "" $(ls /run/netns 2>/dev/null); do
  at="${ns:+-n $ns}"; in="${ns:+nsenter --net=/run/netns/$ns}"
  echo "== $ns"; ip $at -j -d addr show 2>&1; ip $at -j route show table all
  ip $at -j neigh show nud permanent; bridge $at -j fdb show; $in nft -j list ruleset
  $in cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
done
echo "== files"; ls -1A /run/netns 2>/dev/null
find /run/crosshost /etc/netns /run/systemd/system/crosshost* -type f -exec sha256sum {} + 2>/dev/null | sort -k2
systemctl show --property=Id,ActiveState,MainPID -- 'crosshost-*@*.service' 2>/dev/null
cd /var/lib/crosshost 2>/dev/null && sha256sum *
true
"""
_VOLATILE = (
    "_timer",
    "_life_time",
    "operstate",
    "tentative",
    "optimistic",
    "carrier",
    "valid_",
    "preferred_",
)


def picture(text: str) -> Any:
    """A snapshot in a form that is equal exactly when nothing was touched: without what the kernel changes by itself."""
    found: list[Any] = []
    for line in map(str.strip, text.splitlines()):
        try:
            found.append(_plain(json.loads(line)) if line[:1] in ("[", "{") else line)
        except ValueError:
            found.append(line)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value if one and not _by_kernel(one)]
    if isinstance(value, dict):
        plain = {k: _plain(one) for k, one in value.items() if not any(part in k for part in _VOLATILE)}
        if "flags" in plain:
            plain["flags"] = [
                one for one in plain["flags"] if one in ("UP", "self")
            ]  # not whether there is a carrier
        return plain
    return value


def _by_kernel(one: Any) -> bool:
    """Link-local addresses and their routes, multicast groups, learned rows and temporary neighbours; and the table local,
    which follows the addresses once nobody else is found to have them."""
    if not isinstance(one, dict):
        return False
    if one.get("table") == "local":
        return True
    text = str(one.get("local", one.get("dst", "")))
    mac = str(one.get("mac", ""))
    learned = bool(mac) and one.get("state", "") in ("", "stale")
    return (
        text.startswith(("fe80:", "ff0")) or "metainfo" in one or learned or (mac[1:2] in tuple("13579bdf"))
    )
