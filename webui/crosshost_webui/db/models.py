# SPDX-License-Identifier: GPL-3.0-or-later
"""All tables of all domains: importing this fills Base.metadata."""

from ..accounts import models as accounts
from ..audit import models as audit
from ..inventory import models as inventory
from ..ipam import models as ipam
from ..runs import models as runs
from .base import Base

__all__ = ["Base", "accounts", "audit", "inventory", "ipam", "runs"]
