# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever a host returns in place of a value, each report of it is made of bounded, visible lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.filter.filters import FilterModule
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._tables import LINE_LIMIT, TEXT_LIMIT

LONG_TEXT = "\u202e\x1b[2J{{ x }}\n" + "x" * 5000
# What a module may return in JSON in place of anything else.
FORGED = (LONG_TEXT, [LONG_TEXT], {LONG_TEXT: LONG_TEXT}, 10**4000, float("inf"))
SNAPSHOT = {
    "id": "ab" * 32, "time": "2026-11-01T04:00:00Z", "uploaded": "2026-11-01T04:00:01Z", "hostname": "web1", "paths": ["/etc"],
    "job": None, "tags": [], "summary": {"total_bytes_processed": 7},
}  # fmt: skip
FINDING = {"code": "stale", "severity": "warn", "evidence": "It is old.", "what_to_do": "Look."}
SIGNAL = {"code": "changed", "id": "0123456789ab", "stored": "2026-11-01T04:00:01Z"}
PRUNED = {
    "removed": [SNAPSHOT], "kept": [SNAPSHOT], "bytes_removed": 1 << 30, "windows": [{"seconds": 2.5}], "signals": [SIGNAL],
    "fences": [{"without": "nothing is managed"}], "findings": [FINDING],
}  # fmt: skip
RETIRED = {"host": "web1", "job": "old", "paths": ["/old"], "snapshots": 3, "age_hours": 4.5, "bytes": 6}
EACH = {"name": "system", "age_hours": 1.5}
VERIFIED = {"snapshots": 3, "age_hours": 1.5, "jobs": [EACH, EACH], "retired": [RETIRED], "findings": []}
READ = {"read": [1], "left": [2], "bytes": 5, "packs": 7, "oldest": "2026-11-01T04:00:00Z", "complete": True}
DRILLED = {
    "ok": True, "snapshot": "ab" * 32, "bytes": 2 << 20, "all_bytes": 2 << 20, "files": 7, "seconds": 2.0, "all_seconds": 9,
    "sample": False, "command": {"status": 0}, "msg": "",
}  # fmt: skip
RESTORED = {
    "files": 7, "target": "/srv/restored", "snapshots": [SNAPSHOT],
    "left_out": [{"path": "/dev/sda", "why": "a device"}],
}  # fmt: skip
RELOCKED = {"looked_at": ["default"], "buckets": [{"line": "backup-web1: locked"}]}
HOSTVARS = {
    "web1": {"repository_report": {"done": False, "text": "No.", "outcome": "Open."}, "repository_pruned": PRUNED}
}

Made = Callable[..., Any]
# What is a result of modules, and how each filter is called with it.
REPORTS: dict[str, tuple[Any, Callable[[Made, Any], Any]]] = {
    "check_report": (READ, lambda made, given: made(given)),
    "drill_report": (DRILLED, lambda made, given: [made(given, "system", "b", check) for check in (False, True)]),
    "maintenance_report": (PRUNED, lambda made, given: [made(given, check) for check in (False, True)]),
    "maintenance_results": (HOSTVARS, lambda made, given: made(given, ["web1"])),
    "relock_report": (RELOCKED, lambda made, given: made(given)),
    "report_table": (HOSTVARS, lambda made, given: made(given, ["web1"])),
    "restore_report": (RESTORED, lambda made, given: made(given, "web1", "the node")),
    "restore_table": ([SNAPSHOT], lambda made, given: made(given, "web1")),
    "snapshot_table": ([SNAPSHOT], lambda made, given: made(given)),
    "verify_report": (VERIFIED, lambda made, given: [made(given, {"findings": [FINDING]}), made({**VERIFIED}, given)]),
}
# They tell of settings, and of names that Cloudflare gives. The journal has tests of its own.
OTHERS = {"site_report", "orphan_notes", "journal_notes"}


def forged(data: Any) -> Iterator[Any]:
    """The data with each of its values replaced by each of what may be forged, one at a time."""
    yield from FORGED
    if isinstance(data, dict):
        for name, value in data.items():
            yield from ({**data, name: one} for one in forged(value))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from ([*data[:number], one, *data[number + 1 :]] for one in forged(value))


def texts(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        data = [*data, *data.values()]
    if isinstance(data, list):
        for one in data:
            yield from texts(one)
    elif isinstance(data, str):
        yield data


def well(text: str) -> bool:
    hidden = any(unicodedata.category(character)[0] == "C" for character in text)
    return not hidden and "{{" not in text and len(text) < LINE_LIMIT + TEXT_LIMIT


@pytest.mark.parametrize("name", REPORTS)
def test_a_forged_value_makes_no_line_long_or_blind(name: str) -> None:
    genuine, call = REPORTS[name]
    made = FilterModule().filters()[name]
    assert all(map(well, texts(call(made, genuine))))
    shown = 0
    for given in forged(genuine):
        try:
            found = call(made, given)
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError):
            # Nothing is told of a result that is no result.
            continue
        shown += 1
        assert [text[:300] for text in texts(found) if not well(text)] == []
    assert shown > 5


def test_no_report_is_left_out() -> None:
    ends = ("_report", "_table", "_results", "_notes")
    assert {name for name in FilterModule().filters() if name.endswith(ends)} - OTHERS == {*REPORTS}
