# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the demo says while Ansible is at work for long."""

from __future__ import annotations

from typing import Any

import pytest

from demo import __main__ as demo
from tests.support.waiting import happens


class World:
    def at_work(self) -> str:
        return "Create the bucket"


def test_it_is_never_silent_for_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo.QUIET < 10
    said: list[Any] = []
    monkeypatch.setattr(demo, "QUIET", 0.05)
    monkeypatch.setattr(demo, "print", lambda text, flush: said.append((text, flush)), raising=False)
    with demo.never_silent(World()):  # type: ignore[arg-type]
        assert happens(lambda: len(said) >= 2)
    assert all(" s]        … Create the bucket" in text and flush for text, flush in said), said
