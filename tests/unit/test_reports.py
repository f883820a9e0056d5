# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What playbooks say at their end."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.holdfast.restic_r2.plugins.filter.filters import (
    FilterModule,
)
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils import _tables as reports
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._architectures import (
    ARCHITECTURES,
    restic_architecture,
)
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._jobs import (
    jobs_on_host,
    jobs_to_judge,
    jobs_to_restore,
)

from tests.support.running import ROOT

EVIL = "{{ lookup('ansible.builtin.pipe', 'id') }}\x1b[2J\nok  web9\u202e"
STALE = {"code": "stale", "evidence": "No new backups.", "objects": []}
OTHER = {"code": "unexpected_host", "evidence": EVIL, "objects": [EVIL] * 3}


def test_hosts_whose_turn_comes_later_are_in_no_table_and_the_next_step_is_last() -> None:
    hostvars = {
        "web1": {"__site": {}, "repository_report": {"done": True, "text": "fine"}},
        "web2": {"__site": {}},
        "web3": {},
    }
    rows = [row.split() for row in reports.report_table(hostvars, hostvars, ["a note"], "do that", "__site")]
    assert [row[:2] for row in rows[1:]] == [["web1", "ok"], ["web2", "FAILED"], ["-", "note"], ["-", "next"]]
    assert [row.split()[0] for row in reports.report_table(hostvars, hostvars)[1:]] == ["web1", "web2", "web3"]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"msg": "Site was never here."}, "Site was never here."),
        ({"msg": "Site was never here.", "stderr": "a warning"}, "Site was never here."),
        ({"msg": "non-zero return code", "stderr": "Load(x) failed\nFatal: no key found\n"}, "Fatal: no key found."),
        ({"msg": "non-zero return code", "stderr": "", "stdout": "said here\n"}, "said here."),
        ({"msg": "non-zero return code", "stderr": "", "stdout": ""}, "non-zero return code"),
        ({}, "It failed, see above."),
    ],
)
def test_a_failure_is_told_in_the_words_of_what_failed(result: dict[str, Any], told: str) -> None:
    assert reports.failure_text(result) == told


def test_a_restore_is_told_in_lines_that_hold_nothing_of_the_host_unseen() -> None:
    snapshot = {"id": "0123456789abcdef", "paths": ["/etc", EVIL], "time": "2026-11-01T00:00:00Z"}
    restored = {"files": 3, "target": "/back", "snapshots": [snapshot], "left_out": [EVIL] * 60}
    lines = reports.restore_report(restored, "web1", "localhost")
    assert lines[0] == "3 files, folders and links of web1 are now in /back on localhost."
    assert lines[1].startswith("Snapshot 01234567 of /etc, ") and lines[1].endswith("taken 2026-11-01T00:00:00Z.")
    assert lines[2].startswith("60 of its entries were left out") and len(lines) == 53
    assert not re.search("[\x00-\x1f\u202e]", "".join(lines))
    assert len(reports.restore_report({}, "web1", "localhost")) == 2


SITE = {
    "backup_state": "present",
    "backup_manage_systemd": True,
    "repository_bucket": "b",
    "backup_jobs": [{"name": "a"}],
}


@pytest.mark.parametrize(
    ("changed", "check_mode", "text", "following"),
    [
        ({}, False, "ready, bucket b, jobs a", "Start the first backups"),
        ({"backup_jobs": None}, False, "ready, bucket b, jobs none", "Start the first backups"),
        ({"backup_manage_systemd": False}, False, "ready, bucket b, jobs a", "Nothing starts the jobs by itself"),
        ({"backup_state": "absent"}, False, "removed from the host; its backups stay, bucket b, jobs a", ""),
        ({}, True, "dry run, bucket b, jobs a", "Run site without --check."),
    ],
)
def test_site_tells_what_there_is_and_what_to_do(
    changed: dict[str, Any], check_mode: bool, text: str, following: str
) -> None:
    site = {**SITE, **changed}
    assert reports.site_report(site, check_mode) == {"bucket": "b", "done": True, "text": text}
    hostvars = {"web1": {"__site": site, "repository_report": reports.site_report(site, check_mode)}, "web2": {}}
    told = reports.site_next(hostvars, hostvars, check_mode)
    assert told.startswith(following) and bool(told) is bool(following)


def test_where_hosts_failed_site_says_what_to_do_for_them_first() -> None:
    ill = {"__site": {"failed": True, "msg": "No."}, "repository_report": {"done": False, "told": True, "text": "No."}}
    well = {"__site": SITE, "repository_report": reports.site_report(SITE)}
    again = "Mend what failed, then: ansible-playbook holdfast.restic_r2.site"
    assert reports.site_next({"web1": ill, "web2": {}}, ["web1", "web2"]) == f"{again} -l web1."
    hostvars = {"web0": well, **{f"web{number}": ill for number in range(1, 3)}}
    told = reports.site_next(hostvars, hostvars)
    assert told.startswith(f"{again} -l web1,web2. Start the first backups") and told.endswith("restic_r2.verify")
    assert reports.site_next(hostvars, hostvars, True) == f"{again} -l web1,web2. Run site without --check."
    many = {f"web{number}": ill for number in range(9)}
    assert reports.site_next(many, many) == f"{again}."


def test_the_guard_tells_where_it_has_looked() -> None:
    found = {"looked_at": ["default", "eu"], "buckets": [{"line": "backup-web1: closed"}]}
    assert reports.relock_report(found) == [
        "Looked at 1 buckets in the jurisdictions default, eu.",
        "backup-web1: closed",
    ]
    assert reports.relock_report({"msg": "Refused."}) == ["Looked at 0 buckets."]


def test_jobs_to_restore() -> None:
    jobs = [
        {"name": "files", "paths": ["/etc", "/srv"], "command": []},
        {"name": "dump", "command": ["pg_dumpall"]},
        {"name": "named", "command": ["pg_dumpall"], "filename": "all.sql"},
    ]
    assert jobs_to_restore(jobs) == [
        {"name": "files", "paths": ["/etc", "/srv"]},
        {"name": "dump", "paths": ["/dump"]},
        {"name": "named", "paths": ["/all.sql"]},
    ]
    assert [job["name"] for job in jobs_to_restore(jobs, ["named"])] == ["named"]


def test_the_host_gets_to_know_what_it_does_and_the_node_what_it_judges() -> None:
    job = {"name": "dump", "command": ["pg_dumpall"], "max_age": 0.0, "retention": {"keep_last": 1}, "hold": {}}
    assert jobs_on_host([job]) == [{"name": "dump", "command": ["pg_dumpall"]}]
    assert jobs_to_judge([job]) == [
        {"name": "dump", "paths": ["/dump"], "max_age": 0.0, "retention": {"keep_last": 1}, "hold": {}}
    ]
    assert jobs_to_judge([{"name": "files", "paths": ["/etc"], "max_age": None}]) == [
        {"name": "files", "paths": ["/etc"]}
    ]


def harmless(data: Any) -> bool:
    return not re.search("[\x00-\x1f\x7f-\x9f\u202e]|{{", "\0".join(texts(data)).replace("\0", ""))


def texts(data: Any) -> list[str]:
    if isinstance(data, dict):
        return [text for key, value in data.items() for text in [str(key), *texts(value)]]
    if isinstance(data, list):
        return [text for value in data for text in texts(value)]
    return [str(data)]


def snapshot(day: int) -> dict[str, Any]:
    return {"id": f"{day:064d}"[-8:] + "0" * 56, "uploaded": f"2026-11-{day:02d}T03:00:12Z", "time": EVIL}


def test_a_dry_run_names_no_more_than_a_line_holds() -> None:
    text = reports.maintenance_report({"removed": [snapshot(day % 30 + 1) for day in range(500)]}, True)["text"]
    assert text.endswith(", 460 more") and len(text) < reports.LINE_LIMIT


@pytest.mark.parametrize(
    ("result", "check", "report"),
    [
        ({"unreachable": True}, False, {"done": False, "text": reports.UNREACHABLE}),
        (
            {
                "removed": [1, 2],
                "kept": [3],
                "bytes_removed": 1572864,
                "windows": [{"seconds": 0.84}, {"seconds": 1}],
                "fences": [{"without": None, "tokens": ["ab"]}],
            },
            False,
            {"done": True, "text": "removed 2 of 3 snapshots, 1.5 MiB freed, unlocked for 1.8 s"},
        ),
        (
            {"removed": [1], "fences": [{"without": None}, {"without": "asked for by fence=never"}]},
            False,
            {
                "done": True,
                "text": "removed 1 of 1 snapshots, 0.0 MiB freed, unlocked for 0.0 s, without a fence (asked for by fence=never)",
            },
        ),
        (
            {"removed": [], "kept": [3], "findings": [STALE, OTHER]},
            True,
            {"done": True, "text": "would remove 0 of 1 snapshots; look: No new backups."},
        ),
        (
            {"removed": [snapshot(2), snapshot(1)], "kept": [3]},
            True,
            {
                "done": True,
                "text": "would remove 2 of 3 snapshots: 00000001 of 2026-11-01 03:00, 00000002 of 2026-11-02 03:00",
            },
        ),
    ],
)
def test_a_maintenance_in_one_line(result: dict[str, Any], check: bool, report: dict[str, Any]) -> None:
    assert reports.maintenance_report(result, check) == report


SEEN = {"id": "4f0c2a9d1b77", "code": "looks_encrypted", "stored": "2026-11-24T03:10:00Z"}
FOUND = {
    "code": "looks_encrypted",
    "severity": "warn",
    "what_to_do": "",
    "evidence": f"90 % of {EVIL}; last before it: 0123abcd.",
}


def test_what_looks_like_ransomware_fails_verify_and_is_told_by_maintenance() -> None:
    well = {"findings": [], "snapshots": 4, "age_hours": 3.5, "jobs": [{"name": "files", "age_hours": 3.5}]}
    seen = reports.verify_report(well, {"findings": [FOUND], "signals": [SEEN]}, "b")
    assert not seen["done"] and seen["text"].endswith("last before it: 0123abcd.") and harmless(seen)
    later = {**SEEN, "id": "91c3e7d05f2a", "stored": "2026-11-25T03:10:00Z"}
    held = reports.maintenance_report({"removed": [], "kept": [1], "findings": [FOUND], "signals": [later, SEEN]})
    assert held["done"] and held["text"].endswith(
        "; held: nothing stored before 2026-11-25T03:10:00Z is removed until a person accepts looks_encrypted 4f0c2a9d1b77, "
        "looks_encrypted 91c3e7d05f2a (recover, step judge)"
    )


def test_a_look_in_one_line() -> None:
    well = {"findings": [], "snapshots": 4, "age_hours": 3.5, "jobs": [{"name": "files", "age_hours": 3.5}]}
    assert reports.verify_report(well, {}, "b") == {
        "bucket": "b", "done": True, "text": "4 snapshots, newest 3.5 h old; locked"
    }  # fmt: skip
    warned = reports.verify_report(well, {"findings": [OTHER]}, "b")
    assert warned["done"] and "; look: " in warned["text"] and harmless(warned)
    stale = reports.verify_report(well, {"findings": [STALE]}, "b")
    assert stale == {"bucket": "b", "done": False, "text": "No new backups."}
    failed = reports.verify_report({**well, "findings": ["Unlocked: data."]}, {"msg": EVIL}, "b")
    assert not failed["done"] and failed["text"].startswith("Unlocked: data. ") and harmless(failed)
    assert reports.verify_report({"unreachable": True}, None, "b")["text"] == reports.UNREACHABLE


HOSTVARS: dict[str, Any] = {
    "web1": {
        "repository_report": {"bucket": "backup-web1", "done": True, "text": "fine"},
        "repository_pruned": {
            "removed": [{"id": "ab", "host": EVIL}], "kept": [{}], "bytes_removed": 5, "windows": [{"ended_by": EVIL}],
            "findings": [OTHER] * 500, "fences": [{"without": EVIL}],
        },
    },
    "web2": {"repository_report": {"bucket": "backup-web2", "done": False, "text": EVIL * 100}},
    "web3": {},
}  # fmt: skip


def test_the_table_has_one_line_for_each_host_and_note() -> None:
    lines = reports.report_table(HOSTVARS, ["web1", "web2", "web3"], ["Bucket old belongs to nobody."])
    assert [line.split()[:2] for line in lines] == [
        ["HOST", "STATE"], ["web1", "ok"], ["web2", "FAILED"], ["web3", "FAILED"], ["-", "note"]
    ]  # fmt: skip
    assert lines[3].endswith(reports.NOTHING) and harmless(lines) and max(map(len, lines)) < 2100


def test_what_a_failed_task_has_said_is_not_said_again_below_it() -> None:
    reports_of = {"told": True, "done": False, "text": "The bucket is gone."}, {"done": False, "text": "It is stale."}
    hostvars = {f"web{number}": {"repository_report": one} for number, one in enumerate(reports_of, 1)}
    below = reports.report_table(hostvars, hostvars, above=True)
    assert below[1].split(None, 2) == ["web1", "FAILED", reports.TOLD] and below[2].endswith("It is stale.")
    # Those who get a message have no output above it.
    assert reports.report_table(hostvars, hostvars)[1].endswith("The bucket is gone.")


def test_what_is_so_after_a_failure_is_told_with_the_reason_or_where_the_reason_is() -> None:
    report = {"done": False, "told": True, "outcome": "The old keys work.", "text": "No such host."}
    hostvars = {"web1": {"repository_report": report}}
    assert reports.report_table(hostvars, hostvars)[1].endswith("The old keys work. No such host.")
    assert reports.report_table(hostvars, hostvars, above=True)[1].endswith(f"The old keys work. {reports.TOLD}")
    assert reports.report_of(hostvars["web1"])["text"] == "The old keys work. No such host."


def test_records_are_bounded_and_no_templates() -> None:
    records = reports.maintenance_results(HOSTVARS, ["web1", "web2", "web3"])
    assert harmless(records)
    assert (records["web1"]["removed"], records["web1"]["kept"], records["web1"]["done"]) == (["ab"], 1, True)
    assert len(records["web1"]["findings"]) == reports.MOST_FINDINGS and records["web1"]["without_fence"]
    assert len(records["web2"]["text"]) <= reports.TEXT_LIMIT
    assert records["web3"]["text"] == reports.NOTHING and records["web3"]["findings"] == []
    assert records["web3"]["without_fence"] is None
    # A host may have planted ten thousand objects with long names.
    assert set(records["web1"]["findings"][0]) == {"code", "severity", "evidence", "what_to_do"}


def test_orphans_are_told_only_when_all_hosts_were_looked_at() -> None:
    hosts, buckets, tokens = (
        ["web1", "web2"],
        ["backup-web1", "backup-old", "other"],
        # Two have a name of a person's own choice.
        ["backup-web2", "backup-gone/x", "web1", "prod-web2", "web7"],
    )
    assert reports.orphan_notes(HOSTVARS, hosts, buckets, tokens, "^backup-") == [
        "Bucket backup-old belongs to no host of the inventory; nothing was done to it.",
        "Token holdfast/backup-gone belongs to no host of the inventory; nothing was done to it.",
    ]
    assert reports.orphan_notes(HOSTVARS, [*hosts, "web3"], buckets, tokens, "^backup-") == []
    assert reports.orphan_notes(HOSTVARS, hosts, buckets, tokens) == []


def test_snapshots_are_listed_as_they_came() -> None:
    rows = reports.snapshot_table(
        [
            {"uploaded": "2026-02-01T00:00:00Z", "id": "b" * 64, "time": EVIL, "hostname": EVIL * 50},
            {"uploaded": "2026-01-01T00:00:00Z", "id": "a" * 64, "time": "2030-01-01", "hostname": "web1"},
        ]
    )
    assert [row.split()[1][0] for row in rows[1:]] == ["a", "b"]
    assert harmless(rows) and max(map(len, rows)) < 160


def test_what_can_be_restored_is_named_by_its_job_and_bounded() -> None:
    jobs = [{"name": "home", "paths": ["/home/", "/etc"]}, {"name": "db", "command": ["dump"], "filename": "all.sql"}]
    stored = [
        {"paths": ["/etc", "/home"], "summary": {"total_bytes_processed": 5 << 30}},
        {"paths": ["/all.sql"], "summary": {"total_bytes_processed": 999}},
        {"paths": ["/srv", EVIL * 50], "summary": {"total_bytes_processed": EVIL}},
        {"paths": [], "summary": None},
    ]
    rows = [{"uploaded": f"2026-01-0{day}T00:00:00Z", "id": str(day) * 64, **one} for day, one in enumerate(stored, 1)]
    lines = reports.restore_table([{**rows[0], "uploaded": None, "id": "0" * 64}, *rows], "web1", jobs)
    assert [line.split()[2] for line in lines[-3:]] == ["2" * 8, "1" * 8, "0" * 8]
    assert [line.split()[1] for line in lines[-3:]] == ["db", "home", "home"]
    assert lines[-3].endswith(" 999 B") and lines[-2].endswith(" 5.0 GiB") and " ? " in lines[-1]
    assert (
        lines[0].split() == ["HOST", "JOB", "ID", "STORED", "SIZE"]
        and lines[1].endswith(" ?")
        and lines[2].endswith(" ?")
    )
    assert harmless(lines) and max(map(len, lines)) < 200
    few = reports.restore_table(rows, "web1", jobs, 1)
    assert len(few) == 3 and "has 3 more" in few[2]


def test_a_host_chooses_only_among_releases_that_there_are() -> None:
    assert (restic_architecture("x86_64"), restic_architecture("armv8l")) == ("amd64", "arm")
    assert set(ARCHITECTURES.values()) == {
        "amd64", "arm64", "arm", "386", "ppc64le", "riscv64", "s390x"
    }  # fmt: skip
    for said in ("../../etc/cron.d/x", "", EVIL, None, ["x86_64"]):
        with pytest.raises(AnsibleFilterError, match="restic has no release") as caught:
            restic_architecture(said)
        assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("name", FilterModule().filters())
def test_every_filter_is_documented(name: str) -> None:
    docs = yaml.safe_load((ROOT / "plugins" / "filter" / f"{name}.yml").read_text(encoding="utf-8"))
    assert docs["DOCUMENTATION"]["name"] == name and f"holdfast.restic_r2.{name}" in docs["EXAMPLES"]


def test_a_host_whose_jobs_are_not_known_is_not_well() -> None:
    told = reports.verify_report({"findings": [], "snapshots": 4, "age_hours": 3.5, "jobs": []}, {}, "b")
    assert told == {"bucket": "b", "done": False, "text": reports.NO_JOBS}
    # Nothing else has been looked at yet, which is told.
    none = reports.verify_report({"findings": ["There is no repository."], "snapshots": None, "jobs": []}, {}, "b")
    assert none["text"] == "There is no repository."


def test_a_look_tells_the_age_of_each_job_and_what_is_there_of_no_job() -> None:
    jobs = [{"name": "files", "age_hours": 3.5}, {"name": "sql", "age_hours": 20.1}]
    retired = [
        {"host": "web1", "job": "gone", "paths": [], "snapshots": 7, "age_hours": 900.0, "bytes": 3 << 20},
        {"host": EVIL, "job": None, "paths": [EVIL], "snapshots": 1, "age_hours": 9.0, "bytes": None},
    ]
    verified = {"findings": [], "snapshots": 12, "age_hours": 3.5, "jobs": jobs, "retired": retired}
    text = reports.verify_report(verified, {}, "b")["text"]
    assert text.startswith(
        "12 snapshots, newest 3.5 h old (files 3.5 h, sql 20.1 h); locked; look: Kept, and of no job"
    )
    assert "gone of web1 (7 snapshots, newest 900.0 h old, 3.0 MiB)" in text and harmless(text)


def test_maintenance_tells_of_holds() -> None:
    hold = {"code": "hold", "evidence": "Nothing of the repository is removed.", "objects": []}
    told = reports.maintenance_report({"removed": [], "kept": [1], "findings": [hold, OTHER]})
    assert told["done"] and told["text"].endswith("; look: Nothing of the repository is removed.")
