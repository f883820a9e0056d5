# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every attack against both sides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.attacks import direct, garbage, indexes, keys, locks, snapshots
from tests.attacks.attack import POLICIES, Attack
from tests.attacks.outcome import carry_out
from tests.attacks.scene import Template
from tests.stand_in.client import StandIn

ATTACKS: list[Attack] = [
    *(attack for module in (snapshots, indexes, garbage, keys, locks, direct) for attack in module.ATTACKS)
]
# Nobody attacks: maintenance does what the policy says, and finds nothing.
CONTROLS = [Attack(f"none, keep {policy}", frozenset(), policy=policy) for policy in POLICIES]


def case(attack: Attack) -> Any:
    """An attack as a parameter. Where there is one for each policy, `make test` takes two of these."""
    name, _comma, policy = attack.name.partition(", keep ")
    marks = [pytest.mark.sample(2, of=f"attack: {name}")] if policy else []
    return pytest.param(attack, id=attack.name, marks=marks)


@pytest.mark.parametrize("attack", map(case, (*CONTROLS, *ATTACKS)))
def test_attack(
    attack: Attack, template: Template, scene: StandIn, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Nothing is lost, nothing stays open, and the attack is named."""
    outcome = carry_out(attack, template, scene, tmp_path / "attack")
    record_property("attack", json.dumps(outcome.told()))
    assert not outcome.problem
