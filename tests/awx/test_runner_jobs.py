# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs of the project in examples/awx, run by ansible-runner as AWX runs it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator

import pytest

from tests.awx.private_data import HOSTS, Ended, Jobs, jobs
from tests.support.many_hosts import bucket_of

# Whole runs of maintenance, also on a busy machine.
READS = {"GET", "HEAD"}
NEXT_NODE = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Tell
      ansible.builtin.debug:
        msg: "{{ holdfast_maintenance | dict2items | rejectattr('value.done') | map(attribute='key') }}"
"""


@pytest.fixture(scope="module", name="there")
def fixture_there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    with jobs(tmp_path_factory.mktemp("jobs")) as found:
        yield found


def assert_no_secret(there: Jobs, job: Ended) -> None:
    """In none of the artifacts but the one that runner itself writes the environment into."""
    files = [path for path in job.artifacts.rglob("*") if path.is_file() and path.name != "command"]
    assert {"stdout", "status"} <= {path.name for path in files}
    assert any("job_events" in str(path) for path in files)
    for path in [*files, job.artifacts.parents[1] / "output"]:
        text = path.read_text(encoding="utf-8", errors="replace")
        assert [secret for secret in there.secrets() if secret in text] == [], path


@pytest.mark.long
def test_check_mode_with_a_limit_predicts_and_writes_nothing(there: Jobs) -> None:
    since = there.stand_in.last_request()
    job = there.run("maintenance", cmdline="--check -l web0001,web0002")
    assert (job.status, job.rc) == ("successful", "0"), job.output
    records = job.stats["holdfast_maintenance"]
    assert {host: len(record["removed"]) for host, record in records.items()} == {"web0001": 2, "web0002": 2}
    assert all(record["windows"] == [] for record in records.values())
    asked = [one for one in there.stand_in.requests(since) if "/locks/" not in one["path"]]
    assert not [one for one in asked if one["kind"] == "rest" and one["method"] not in READS]
    assert not [one for one in asked if one["kind"] in ("DeleteObject", "DeleteObjects")]
    assert there.snapshots() == [3, 3, 3]


def test_tags_are_refused_before_anything_is_asked(there: Jobs) -> None:
    for switch in ("-t maintenance", "--skip-tags report"):
        since = there.stand_in.last_request()
        job = there.run("maintenance", cmdline=switch)
        assert (job.status, job.rc) == ("failed", "2"), job.output
        assert "runs as a whole or not at all: leave out --tags and --skip-tags" in job.output
        assert there.stand_in.requests(since) == []


@pytest.mark.long
def test_maintenance_tells_the_next_node_of_the_workflow_and_no_secret(there: Jobs) -> None:
    """One host of three fails; the next nodes read what the first one did."""
    broken = bucket_of(2)
    record = there.home / "records" / broken
    record.rename(there.home / "elsewhere")
    job = there.run("maintenance", cmdline="-vvv")
    assert (job.status, job.rc) == ("failed", "2"), job.output
    records = job.stats["holdfast_maintenance"]
    assert [records[host]["done"] for host in sorted(records)] == [True, False, True], records
    well = records["web0001"]
    assert (len(well["removed"]), well["kept"]) == (2, 1)
    assert well["bytes_removed"] > 0
    assert [window["in_force"] for window in well["windows"]] == [True]
    assert "There is no record of" in records["web0002"]["text"]
    assert there.locked() == [True] * HOSTS
    assert_no_secret(there, job)
    (there.home / "elsewhere").rename(record)

    command = job.artifacts / "command"
    assert there.stand_in.api_token in command.read_text(encoding="utf-8"), "docs/operations.md says that it is there"
    assert stat.S_IMODE(command.stat().st_mode) == 0o600

    handed_on = {"extravars": json.loads(json.dumps(job.stats))}
    relocked = there.run("relock", **handed_on)
    assert relocked.status == "successful", relocked.output
    verified = there.run("verify", cmdline="-vvv", **handed_on)
    assert verified.status == "successful", verified.output
    for one in (relocked, verified):
        assert_no_secret(there, one)

    told = there.run("notify", more={"notify": NEXT_NODE}, **handed_on)
    assert told.result("Tell")["msg"] == ["web0002"], told.output

    repaired = there.run("maintenance")
    assert (repaired.status, repaired.rc) == ("successful", "0"), repaired.output
    assert there.snapshots() == [1, 1, 1]
