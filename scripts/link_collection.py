#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the checkout the path that Ansible expects of a collection.

Ansible finds ``crosshost.network`` only below ``<root>/ansible_collections/crosshost/network``. One symbolic
link of the whole checkout serves; a directory of links to its entries would not, because some linters do
not enter linked folders and then pass without having looked at anything.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def link_collection(checkout: Path = CHECKOUT) -> Path:
    """Make the link if it is missing or points elsewhere.

    Returns the directory for ``ANSIBLE_COLLECTIONS_PATH`` and ``sys.path``, ``<checkout>/.build``. Several
    processes may do this at once. Raises OSError when something that is not a link is in the way.
    """
    root = checkout / ".build"
    link = root / "ansible_collections" / "crosshost" / "network"
    # Relative, so that the checkout can be moved or copied with its links.
    target = os.path.relpath(checkout, link.parent)
    if link.is_symlink() and os.readlink(link) == target:
        return root
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f"network.{os.getpid()}")
    fresh.symlink_to(target)
    try:
        os.replace(fresh, link)
    except OSError:
        fresh.unlink()
        raise
    return root


if __name__ == "__main__":
    try:
        print(link_collection())
    except OSError as error:
        sys.exit(
            f"link_collection: {error.filename2 or error.filename}: {error.strerror}; remove it and run again"
        )
