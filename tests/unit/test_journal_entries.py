# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries of the journal, made of what modules returned."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.entries import cleaned
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.state import empty, take
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils import _journal_entries as made

PLACE = {
    "node": "localhost",
    "node_python": "/usr/bin/python3",
    "record_dir": "/records",
    "bucket": "backup-web1",
    "prefix": "",
}
JOB = {
    "name": "data",
    "max_age": 26.0,
    "snapshots": 4,
    "newest": "2026-11-27T03:00:00Z",
    "age_hours": 5.0,
    "bytes": 500,
}
LOCKED = dict.fromkeys(("config", "data/", "index/", "keys/", "snapshots/"), "locked")
VERIFIED: dict[str, Any] = {
    "findings": [], "codes": [], "window": None, "prefixes": LOCKED, "probed_with": "host", "public": False, "snapshots": 4,
    "newest": "2026-11-27T03:00:00Z", "age_hours": 5.0, "time": "2026-11-27T08:00:00Z", "jobs": [JOB],
}  # fmt: skip
AUDITED = {"findings": [], "baseline": {"snapshots": 4, "indexes": 1, "packs": 7, "bytes": 1000}}
WINDOW = {
    "repository": "backup-web1", "prefixes": ["snapshots/", "data/"], "opened": "2026-11-27T04:00:00Z",
    "closed": "2026-11-27T04:00:01Z", "seconds": 0.8, "ended_by": "asked", "in_force": True,
}  # fmt: skip
PRUNED: dict[str, Any] = {
    "removed": [{"id": "a"}], "kept": [{"id": "b"}, {"id": "c"}], "bytes_removed": 500, "windows": [WINDOW], "findings": [],
    "fences": [{"without": None}], "time": "2026-11-27T04:00:02Z",
}  # fmt: skip
FINE = {"done": True, "text": "well"}
ILL = {"done": False, "text": "not well"}


def only(run: str, **variables: Any) -> dict[str, Any]:
    """The one entry of a run over one host, as the journal keeps it."""
    hostvars = {"web1": {"__repository_place": PLACE, **variables}}
    (call,) = made.journal_calls(hostvars, ["web1"], run, "ann")
    (entry,) = call["entries"]
    return cleaned(entry)


def test_what_verify_saw_is_written_down() -> None:
    entry = only("verify", repository_report=FINE, repository_verified=VERIFIED, repository_audited=AUDITED)
    assert entry.pop("id")
    assert entry == {
        "run": "verify", "by": "ann", "host": "web1", "bucket": "backup-web1", "prefix": "", "result": "ok", "text": "well",
        "at": "2026-11-27T08:00:00Z", "locks": {"proved": True, "by": "host", "prefixes": LOCKED}, "open": {}, "snapshots": 4,
        "newest": "2026-11-27T03:00:00Z",
        "jobs": [{**{name: value for name, value in JOB.items() if name != "age_hours"}, "state": "ok"}],
        "bytes": 1000, "packs": 7, "findings": [],
    }  # fmt: skip


def test_what_maintenance_did_is_written_down() -> None:
    entry = only("maintenance", repository_report=FINE, repository_pruned=PRUNED)
    (window,) = entry["windows"]
    assert (window["parts"], window["seconds"], window["in_force"]) == (["snapshots", "data"], 0.8, True)
    assert (entry["removed"], entry["bytes_removed"], entry["snapshots"]) == (1, 500, 2)
    assert entry["locks"]["proved"] is True and entry["at"] == "2026-11-27T04:00:02Z"
    assert "unfenced" not in entry


@pytest.mark.parametrize("run", ["verify", "maintenance"])
@pytest.mark.parametrize("result", [{}, {"unreachable": True, "changed": False}, {"failed": True, "msg": "No."}])
def test_where_nothing_was_seen_nothing_is_said_to_be_well(run: str, result: dict[str, Any]) -> None:
    name = {"verify": "repository_verified", "maintenance": "repository_pruned"}[run]
    entry = only(run, repository_report=ILL, **{name: result})
    assert entry["result"] == "failed" and "locks" not in entry and "open" not in entry
    assert [(one["severity"], one["evidence"]) for one in entry["findings"]] == [("block", "not well")]
    state = empty()
    take(
        state,
        {"written": "2026-11-27T08:00:00Z", **only("verify", repository_report=FINE, repository_verified=VERIFIED)},
    )
    take(state, {"written": "2026-11-28T08:00:00Z", **entry})
    known = state["repositories"]["backup-web1"]
    assert (known["state"], known["locks"]["proved_at"]) == ("failed", "2026-11-27T08:00:00Z")


def test_a_window_that_is_open_is_in_the_state_until_it_is_seen_closed() -> None:
    state = empty()
    window = {"parts": ["data"], "lease": "2026-11-27T07:00:00Z", "holder": "x", "state": "overdue"}
    seen = {
        **VERIFIED,
        "window": window,
        "codes": ["window_left_open"],
        "findings": ["Unlocked: data, lease 2026-11-27T07:00:00Z; run the relock playbook."],
    }
    entry = only("verify", repository_report=ILL, repository_verified=seen)
    assert [one["code"] for one in entry["findings"]] == ["window_left_open"]
    for hour in ("08", "09"):
        take(state, {"written": f"2026-11-27T{hour}:00:00Z", **entry, "at": f"2026-11-27T{hour}:00:00Z"})
    known = state["repositories"]["backup-web1"]
    assert (known["state"], known["open"]["since"]) == ("open", "2026-11-27T08:00:00Z")
    take(
        state,
        {"written": "2026-11-27T10:00:00Z", **only("verify", repository_report=FINE, repository_verified=VERIFIED)},
    )
    assert (known["state"], known["open"]) == ("ok", None)


def test_the_same_is_not_told_twice() -> None:
    stale = {"code": "stale", "severity": "warn", "evidence": "No new backups.", "what_to_do": "Look."}
    seen = {
        **VERIFIED,
        "codes": ["stale"],
        "findings": ["The newest snapshot was uploaded 50.0 hours ago, more than 26."],
    }
    entry = only(
        "verify", repository_report=ILL, repository_verified=seen, repository_audited={**AUDITED, "findings": [stale]}
    )
    assert [one["code"] for one in entry["findings"]] == ["stale"]


def test_one_call_for_each_node_and_nothing_in_a_dry_run() -> None:
    hostvars = {
        name: {"__repository_place": {**PLACE, "node": node, "bucket": f"backup-{name}"}, "repository_report": FINE}
        for name, node in (("web1", "localhost"), ("web2", "node"), ("web3", "localhost"))
    }
    calls = made.journal_calls({**hostvars, "web4": {}}, [*hostvars, "web4"], "verify")
    assert {call["node"]: [one["host"] for one in call["entries"]] for call in calls} == {
        "localhost": ["web1", "web3"],
        "node": ["web2"],
    }
    assert len({one["id"] for call in calls for one in call["entries"]}) == 1
    assert [call["entries"] for call in made.journal_calls(hostvars, hostvars, "verify", write=False)] == [[], []]


def test_a_host_whose_settings_tell_no_place_is_written_down_in_the_journal_of_another() -> None:
    hostvars = {
        "web1": {"__repository_place": {"failed": True, "msg": "web1: wrong."}, "repository_report": ILL},
        "web2": {"__repository_place": PLACE, "repository_report": FINE},
    }
    (call,) = made.journal_calls(hostvars, hostvars, "verify")
    assert [(one["host"], one["bucket"], one["result"]) for one in call["entries"]] == [
        ("web1", None, "failed"),
        ("web2", PLACE["bucket"], "ok"),
    ]
    del hostvars["web2"]
    assert made.journal_calls(hostvars, hostvars, "verify") == []


def test_number_that_no_float_holds_takes_no_other_entry_along() -> None:
    found = cleaned({"run": "verify", "result": "ok", "bytes": 10**400, "packs": float("inf"), "snapshots": 3})
    assert found == {"run": "verify", "result": "ok", "snapshots": 3}


def test_what_is_wrong_with_a_journal_is_told() -> None:
    well = {"lines": 3}
    assert made.journal_notes({**well, "broken": []}, well, "/records") == made.journal_notes({}, {}, "/records") == []
    assert made.journal_notes({"skipped": True}, {"failed": True, "msg": "Full."}, "/records") == [
        "Journal in /records: Full."
    ]
    notes = made.journal_notes({**well, "broken": ["line 2 is wrong."]}, {"unreachable": True}, "/records")
    assert notes == [
        "Journal in /records: line 2 is wrong.",
        "Journal in /records: The maintenance node could not be reached; the journal was not written.",
    ]


def test_a_window_by_hand_counts_until_it_is_closed_or_its_lease_at_most() -> None:
    window = {"prefixes": ["web1/keys/"], "opened": "2026-11-27T08:00:00Z", "lease": "2026-11-27T08:15:00Z"}
    opened = only(
        "unlock",
        repository_report=FINE,
        __repository_window={"window": window},
        __repository_set={"unlock_reason": "An old key"},
    )
    assert opened["open"] == {
        "parts": ["keys"], "opened": "2026-11-27T08:00:00Z", "lease": "2026-11-27T08:15:00Z", "state": "live",
        "reason": "An old key",
    }  # fmt: skip
    look = only("verify", repository_report=FINE, repository_verified=VERIFIED)
    for seen, seconds in (("2026-11-27T08:05:00Z", 300), ("2026-11-28T08:00:00Z", 900)):
        state = empty()
        take(state, {"written": "2026-11-27T08:00:05Z", **opened})
        take(state, {"written": seen, **look, "at": seen})
        known = state["repositories"]["backup-web1"]
        assert (known["open"], known["seconds_unlocked"], known["windows"][0]["reason"]) == (
            None,
            seconds,
            "An old key",
        )


def test_what_check_finds_stays_until_the_next_check() -> None:
    state = empty()
    damaged = {
        "damaged": ["ab"],
        "share": 0.5,
        "bytes": 10,
        "seconds": 2.0,
        "oldest": "2026-11-01T00:00:00Z",
        "complete": False,
    }
    ill = only("check", repository_report=ILL, repository_read={**damaged, "time": "2026-11-27T01:00:00Z"})
    take(state, {"written": "2026-11-27T01:00:00Z", **ill})
    take(
        state,
        {"written": "2026-11-27T08:00:00Z", **only("verify", repository_report=FINE, repository_verified=VERIFIED)},
    )
    known = state["repositories"]["backup-web1"]
    assert [(one["run"], one["code"]) for one in known["findings"]] == [("check", "damaged")]
    assert known["read"] == {"share": 0.5, "bytes": 10, "seconds": 2.0, "at": "2026-11-27T01:00:00Z"}
    well = only("check", repository_report=FINE, repository_read={**damaged, "damaged": [], "complete": True})
    take(state, {"written": "2026-11-28T01:00:00Z", **well})
    assert known["findings"] == [] and known["read"]["through"] == "2026-11-01T00:00:00Z"


def test_a_step_of_recover_is_written_down_with_what_it_proved() -> None:
    frozen = {"locked": True, "prefixes": LOCKED, "probed_with": "node"}
    entry = only("recover", repository_report=FINE, __repository_set={"recover": "freeze"}, __repository_frozen=frozen)
    assert (entry["step"], entry["locks"]["proved"]) == ("freeze", True)
    entry = only(
        "recover",
        repository_report=FINE,
        __repository_set={"recover": "remove"},
        repository_cleaned={"windows": [WINDOW], "fences": [{"without": "no token"}]},
    )
    assert (entry["windows"][0]["seconds"], entry["unfenced"]) == (0.8, "no token")


def test_no_batch_writes_down_the_hosts_of_another() -> None:
    hostvars: dict[str, Any] = {"web1": {"__repository_place": PLACE, "repository_report": FINE}, "web2": {}}
    first = made.journal_calls(hostvars, hostvars, "site")
    # What is registered once for all hosts reaches those of the batch.
    hostvars["web1"]["__repository_journals"] = {"journal_calls": first}
    hostvars["web2"] = {"__repository_place": PLACE}
    second = made.journal_calls(hostvars, hostvars, "site")
    assert [[one["host"] for one in call["entries"]] for call in (*first, *second)] == [["web1"], ["web2"]]
    assert second[0]["entries"][0]["result"] == "failed"
    assert {one["id"] for call in (*first, *second) for one in call["entries"]} == {first[0]["id"]}


def test_locks_that_are_lost_keep_the_moment_at_which_they_were_proved() -> None:
    state = empty()
    look = only("verify", repository_report=FINE, repository_verified=VERIFIED)
    opened = {**VERIFIED, "prefixes": {**LOCKED, "data/": "open"}, "time": "2026-11-28T08:00:00Z"}
    ill = only("verify", repository_report=ILL, repository_verified=opened)
    for entry in (look, ill):
        take(state, {"written": "2026-11-28T08:00:01Z", **entry})
    locks = state["repositories"]["backup-web1"]["locks"]
    moments = (locks["proved"], locks["at"], locks["proved_at"])
    assert moments == (False, "2026-11-28T08:00:00Z", "2026-11-27T08:00:00Z")


def test_the_window_in_which_a_password_was_removed_is_written_down() -> None:
    window = {**WINDOW, "prefixes": ["keys/"]}
    fine = {**FINE, "step": "remove"}
    removed = {"removed": ["a"], "windows": [window], "fences": [{"without": "no token"}]}
    entry = only("password", repository_report=fine, repository_keys_removed=removed)
    assert (entry["run"], entry["step"], entry["unfenced"]) == ("password", "remove", "no token")
    assert [one["parts"] for one in entry["windows"]] == [["keys"]]
    state = empty()
    take(state, {**entry, "written": "2026-11-27T08:00:00Z"})
    assert state["repositories"]["backup-web1"]["seconds_unlocked"] == 0.8
    assert "windows" not in only("password", repository_report=fine, repository_keys_removed={"skipped": True})
