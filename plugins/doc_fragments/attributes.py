# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules' documentation says about check mode, diff mode, idempotence and platforms."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments ``crosshost.network.attributes`` (modules that converge) and ``.info`` (modules that read)."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Whether the module can predict its changes without making them.
    support: full
    details:
      - The prediction is the plan itself. A run without check mode against the same state executes exactly this plan.
  diff_mode:
    description: Whether the module says what it has changed, or in check mode would change.
    support: full
  idempotent:
    description: Whether a second run with the same options, with nothing else changing in between, changes nothing.
    support: full
  platform:
    description: The systems on which the module works.
    platforms: linux
    support: full
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Whether the module can run in check mode.
    support: full
    details:
      - The module only reads, so that check mode makes no difference.
  diff_mode:
    description: Whether the module says what it has changed, or in check mode would change.
    support: N/A
    details:
      - The module changes nothing.
  idempotent:
    description: Whether a second run with the same options, with nothing else changing in between, changes nothing.
    support: full
    details:
      - The module changes nothing.
  platform:
    description: The systems on which the module works.
    platforms: linux
    support: full
"""
