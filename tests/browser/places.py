# SPDX-License-Identifier: GPL-3.0-or-later
"""Every page of a seeded dashboard, for the tests and for the pictures."""

from __future__ import annotations

from tests.support.dashboard_seed import Seeded

SIGNED_OUT = {"sign-in": "/sign-in"}


def places(seeded: Seeded) -> dict[str, str]:
    """The address of each page by a name for its picture."""
    return {
        "overview": "/",
        "hosts": "/hosts",
        "host": "/hosts/alpha",
        "host-add": "/items/host/new",
        "groups": "/groups",
        "group": "/groups/rack_a",
        "networks": "/networks",
        "network": "/networks/overlay/web",
        "network-add": "/items/overlay/new",
        "network-change": "/items/overlay/edit/web",
        "network-history": "/items/overlay/history/web",
        "bridge": "/networks/bridge/front",
        "endpoints": "/endpoints",
        "endpoint": "/endpoints/alpha/web/shop",
        "endpoint-add": "/items/endpoint/new?network=web",
        "services": "/services",
        "service": "/services/web/www",
        "service-add": "/items/service/new",
        "ingress": "/ingress",
        "topology": "/topology",
        "ipam": "/ipam",
        "ipam-find": "/ipam?q=10.0.0.2",
        "pool": "/ipam/pools/1",
        "pool-add": "/ipam/pools/new",
        "allocation": "/ipam/blocks/7",
        "reconciliation": "/ipam/reconciliation",
        "runs": "/runs",
        "runs-none": "/runs?who=nobody",
        "run-new": "/runs/new",
        "run-running": f"/runs/{seeded.running}",
        "run-done": f"/runs/{seeded.applied}",
        "run-hosts": f"/runs/{seeded.applied}?view=hosts",
        "run-output": f"/runs/{seeded.applied}?view=output",
        "run-problems": f"/runs/{seeded.failed}?view=problems",
        "result-changed": f"/runs/{seeded.drifted}/results/{seeded.changed}",
        "result-failed": f"/runs/{seeded.failed}/results/{seeded.failure}",
        "plans": "/plans",
        "plan": f"/plans/{seeded.plan}",
        "drift": "/drift",
        "schedules": "/schedules",
        "schedule-add": "/schedules/new",
        "revisions": "/revisions",
        "revision": "/revisions/5",
        "revisions-compared": "/revisions/5?against=2",
        "import": "/inventory/import",
        "export": "/inventory/export",
        "audit": "/audit",
        "audit-entry": "/audit/9",
        "users": "/users",
        "user": "/users/2",
        "user-add": "/users/new",
        "account": "/account",
        "secrets": "/secrets",
        "secret": "/secrets/1",
        "tokens": "/tokens",
        "settings": "/settings",
        "api": "/api",
        "not-found": "/hosts/nobody",
    }
