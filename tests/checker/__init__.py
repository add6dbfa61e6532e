# SPDX-License-Identifier: GPL-3.0-or-later
"""An independent eye: compares a host's kernel with what was declared for it.

It reads what iproute2, nft and sysctl print, and works out from the declarations alone what they ought to print. It has
no code in common with the collection: a fault of the engine cannot hide in it.
"""

from .compare import check
from .read import Facts, Runner, local_runner, prefixed_runner, read_host

__all__ = ["Facts", "Runner", "check", "local_runner", "prefixed_runner", "read_host"]
