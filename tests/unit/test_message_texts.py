# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the message about a run says in its title."""

from __future__ import annotations

from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._message_texts import run_message


def test_a_message_says_whether_something_was_seen_or_nobody_could_look() -> None:
    def title(**codes: list[str]) -> str:
        entries = [
            {"host": host, "signals": [{"code": code} for code in found], "findings": []}
            for host, found in codes.items()
        ]
        told = run_message(["HOST", "web1 ok fine"], "verify", [{"id": "", "entries": entries}])
        assert told["urgent"] == any(codes.values())
        return str(told["title"])

    assert title(web1=[]) == "holdfast verify: all 1 well"
    assert title(web1=["not_looked_at"], web2=["signals_lost"]) == (
        "holdfast verify: all 1 well, not looked at for signs of an attack: web1, web2"
    )
    assert title(web1=["not_looked_at", "no_files"]) == (
        "holdfast verify: all 1 well, signs of an attack on web1, not looked at for signs of an attack: web1"
    )
