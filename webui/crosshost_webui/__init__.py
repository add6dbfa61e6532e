# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboard of Crosshost."""

from .collection import provide

# The engine is part of the collection; every module below may import it.
provide()
