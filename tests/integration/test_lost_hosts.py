# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection to all hosts is lost in the middle of a playbook: it ends with table, journal and next step, and not well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_journal_of_runs import lines
from tests.integration.test_managed_tokens import ROTATE, SITE, kept, names, on_host
from tests.stand_in.client import StandIn
from tests.support.fleet import Fleet
from tests.support.running import ROOT, Ansible, Run


class Losing:
    """A fleet of one host, to which the connection is lost where the host is to run a certain module."""

    def __init__(self, ansible: Ansible, fleet: Fleet, folder: Path) -> None:
        self.ansible, self.fleet, self.mark = ansible, fleet, folder / "lost"
        for name in ("holdfast_access_key_id", "holdfast_secret_access_key"):
            del fleet.host("web1")[name]
        self.fleet.common.update(ansible_connection="lost", ansible_pipelining=False, backup_prove_retries=1)

    def play(self, name: str, lost_at: str) -> Run:
        self.mark.unlink(missing_ok=True)
        variables = {
            "ANSIBLE_CONNECTION_PLUGINS": str(ROOT / "tests" / "support" / "connection"),
            "LOST_AT": f"AnsiballZ_{lost_at}",
            "LOST_MARK": str(self.mark),
        }
        return self.ansible.playbook(name, self.fleet.inventory, environment=variables)

    def told(self, run: Run) -> str:
        """The line of the host in the table, which the journal has, too, of a run that failed for it."""
        assert run.exit_code == 2 and run.recap["web1"]["unreachable"] == 0, run.output
        assert sum(result.status == "unreachable" for result in run.results) <= 2, run.output
        last = lines(self.fleet.folder / "records")[-1]
        assert "could not be reached any more" in last["text"] and last["result"] == "failed", last
        return str(run.of(task="Show the table")[0].result["msg"])


@pytest.fixture(name="losing")
def fixture_losing(ansible: Ansible, tmp_path: Path, stand_in: StandIn, restic_path: str) -> Losing:
    return Losing(ansible, Fleet(tmp_path / "fleet", stand_in, restic_path), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("module", ["host_credentials", "file"])
def test_site_ends_with_its_table(losing: Losing, module: str) -> None:
    run = losing.play(SITE, module)
    assert "web1" in losing.told(run)
    assert "FAILED" in losing.told(run) and not (losing.fleet.home("web1") / "bin" / "holdfast-restic").exists()
    again = losing.play(SITE, "nothing")
    assert again.exit_code == 0 and losing.fleet.backup("web1").returncode == 0, again.output


@pytest.mark.sample(of="stories")
def test_rotate_leaves_no_token_behind(losing: Losing) -> None:
    assert losing.play(SITE, "nothing").exit_code == 0
    old, there = kept(losing.fleet), names(losing.fleet)
    run = losing.play(ROTATE, "command")
    assert "no new token is left" in losing.told(run) and "A copy of the keys may be left" in losing.told(run)
    assert (kept(losing.fleet), names(losing.fleet)) == (old, there) and old["access_key_id"] in on_host(losing.fleet)
