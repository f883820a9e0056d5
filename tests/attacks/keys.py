# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys that keep restic from finding its own, or that outlive a change of the password."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tests.attacks.attack import Attack
from tests.attacks.host import Host
from tests.support.repository_format import Key, key_object, name_of

NAMED = frozenset({"foreign_key"})


def first(host: Host, make: Callable[[], bytes]) -> None:
    """Add a key that comes before the genuine ones when keys are listed, as luck will have it after a few tries."""
    genuine = min(set(host.sizes("keys/")) - host.added).removeprefix("keys/")
    content = make()
    while name_of(content) > genuine:
        content = make()
    host.put_named("keys", content)


def many(host: Host) -> None:
    """More than restic tries; they have another password."""
    for _each in range(25):
        first(host, lambda: key_object(os.urandom(8).hex(), Key.random(), n=2))


def absurd(host: Host) -> None:
    claim: dict[str, Any] = {"N": 2**60, "r": 2**30, "p": 2**30}
    first(host, lambda: key_object(host.password, Key.random(), n=2, claim=claim))


def other_master(host: Host) -> None:
    """The right password opens it, and nothing can be read with what is found in it."""
    first(host, lambda: key_object(host.password, Key.random(), n=2))


def second_password(host: Host) -> None:
    """With this one, somebody gets in after the password was changed."""
    host.put_named("keys", key_object("of the attacker", host.master))


ATTACKS = [
    Attack("keys: 25 of strangers", NAMED, many),
    Attack("keys: absurd parameters", NAMED, absurd),
    Attack("keys: right password, wrong key", NAMED, other_master),
    Attack("keys: a second password", NAMED, second_password),
]
