# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Debian hosts on one machine: systemd-nspawn, an overlay file system a host, a switch in its own namespace."""
