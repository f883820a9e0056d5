# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From bare hosts to backups: dry run, provisioning as an ordinary user, second run, the first firing of a timer."""

from __future__ import annotations

import pytest

from tests.hosts.fleet import Fleet
from tests.hosts.site import Site

pytestmark = pytest.mark.hosts
# The tests below are one story, told in this order on the same hosts.
PIPELINING = {"ANSIBLE_PIPELINING": "1"}


def test_dry_run_on_bare_hosts_predicts_and_changes_nothing(site: Site) -> None:
    before = {host.name: host.run("find / -xdev -newer /etc/machine-id -type f | sort") for host in site.fleet}
    run = site.provision("--check", "--diff", user="admin")
    assert {result.host for result in run.changed} >= set(site.fleet.hosts)
    for host in site.fleet:
        after = host.run("find / -xdev -newer /etc/machine-id -type f | sort")
        new = set(after.splitlines()) - set(before[host.name].splitlines())
        assert not [path for path in new if not path.startswith(("/var/log/", "/home/admin/."))]
    assert site.stand_in.ask("ledger")["destructive"] == []


def test_an_ordinary_user_provisions_from_bare(site: Site) -> None:
    run = site.provision("--diff", user="admin")
    assert {result.host for result in run.changed} >= set(site.fleet.hosts)
    for host in site.fleet:
        assert host.property_of("holdfast-backup@home.timer", "ActiveState") == "active"


@pytest.mark.parametrize("environment", [{}, PIPELINING], ids=["plain", "pipelining"])
def test_a_second_run_changes_nothing(site: Site, environment: dict[str, str]) -> None:
    run = site.provision("--diff", user="admin", environment=environment)
    assert [(result.host, result.task) for result in run.changed] == []


def test_a_timer_fires_by_itself_and_makes_a_snapshot(site: Site, fleet: Fleet) -> None:
    for host in fleet:
        host.write(
            "/run/systemd/system/holdfast-backup@home.timer.d/soon.conf",
            "[Timer]\nOnCalendar=\nOnCalendar=*:*:*\nAccuracySec=1us\nRandomizedDelaySec=0\n",
        )
        host.run("systemctl daemon-reload && systemctl restart holdfast-backup@home.timer")
    for host in fleet:
        host.await_success("journalctl -u holdfast-backup@home.service | grep -q 'snapshot .* saved'")
        host.run("systemctl stop holdfast-backup@home.timer holdfast-backup@home.service")
        assert len(site.snapshots(host, tag="people")) >= 1
