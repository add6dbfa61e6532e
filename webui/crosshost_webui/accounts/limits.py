# SPDX-License-Identifier: GPL-3.0-or-later
"""Token buckets in the database: how often something may be tried. They hold for all servers on it, and outlive a restart."""

from __future__ import annotations

import hashlib
import ipaddress
import math
from datetime import datetime
from typing import NamedTuple

from ..db.base import now
from ..db.engine import WriteSession
from ..web.problem import TooMany
from . import store


class Limit(NamedTuple):
    """``burst`` attempts at once, then one every ``seconds``."""

    burst: int
    seconds: float


SIGN_IN = Limit(5, 30)


def key_of(what: str, account: str, address: str) -> str:
    """One bucket for an account tried from an address. Not for the account alone: a stranger who guesses its password would lock
    its owner out; and an IPv6 address counts as its /64, of which whoever has one address has all."""
    try:
        ip = ipaddress.ip_address(address)
        if ip.version == 6:
            address = str(ipaddress.ip_network((ip, 64), strict=False))
    except ValueError:
        pass
    both = "\0".join((account, address)).encode("utf-8", "replace")
    return f"{what}:{hashlib.sha256(both).hexdigest()}"


def take(s: WriteSession, key: str, limit: Limit, at: datetime | None = None) -> None:
    """Count one attempt. TooMany, with Retry-After, when there is none left; then it is not counted."""
    moment = at or now()
    bucket = store.lock_bucket(s, key, float(limit.burst), moment)
    gained = max(0.0, (moment - bucket.at).total_seconds()) / limit.seconds
    level = min(float(limit.burst), bucket.level + gained)
    if level < 1:
        wait = math.ceil((1 - level) * limit.seconds)
        raise TooMany(f"too many attempts; try again in {wait} s", headers={"Retry-After": str(wait)})
    bucket.level, bucket.at = level - 1, moment
