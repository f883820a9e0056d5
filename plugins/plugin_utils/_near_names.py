# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the name that was meant where no setting has the name that was written. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

OURS = "holdfast_"
# What begins like this is ours, whatever follows.
FAMILIES = (
    "accept", "check", "drill", "password", "recover", "relock", "remove", "report", "restore", "retention", "token", "unlock",
)  # fmt: skip
# How alike the names of roles' settings are, behind the name of the role, when one is a slip of the other.
NEAR = 0.8


def nearest(name: str, names: Iterable[str], cutoff: float = 0.7) -> str:
    """The name that was probably meant; empty when none is near."""
    return next(iter(difflib.get_close_matches(name, sorted(names), 1, cutoff)), "")


def misspelt(names: Iterable[str], known: Iterable[str], prefixes: tuple[str, ...], cutoff: float) -> dict[str, str]:
    """Those names with one of the prefixes that no setting has, with the one that was probably meant."""
    settings = set(known)
    found = {}
    for name in sorted(set(names) - settings):
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        if prefix is not None:
            behind = [one.removeprefix(prefix) for one in settings if one.startswith(prefix)]
            near = nearest(name.removeprefix(prefix), behind, cutoff)
            if near:
                found[name] = prefix + near
    return found


def slips(near: Mapping[str, str]) -> dict[str, str]:
    """The misspelt names that a person would hardly give to a variable of his own.

    A plural, or the singular of one, may well be a person's own; but without its jobs a host is backed up otherwise than meant.
    """
    return {
        name: meant
        for name, meant in near.items()
        if meant == "backup_jobs" or name.removesuffix("s") != meant.removesuffix("s")
    }


def strangers(names: Iterable[str], known: Iterable[str], options: Mapping[str, Any]) -> dict[str, str]:
    """Those names that begin with holdfast_ and that nothing reads, with what to write where that can be told.

    Args:
        names: The variables.
        known: The names that are read.
        options: The options of roles.
    """
    settings = set(known)
    found = {}
    for name in sorted(set(names) - settings):
        behind = name.removeprefix(OURS)
        if name.startswith(OURS) and behind:
            found[name] = " or ".join(_meant(behind, settings, options))
    return {name: meant for name, meant in found.items() if meant}


def _meant(behind: str, settings: set[str], options: Mapping[str, Any]) -> list[str]:
    """What a name without its beginning was probably meant for; nothing where it can be a variable of a person's own."""
    same = [name for name in options if name.partition("_")[2] == behind]
    same += [name for name in sorted(settings) if name.endswith(f"_{behind}")]
    for name, option in options.items():
        outer = OURS + name.partition("_")[2]
        place = outer if outer in settings else name
        same += [f"{inner} in {place}" for inner in _inner(option) if inner.rpartition(".")[2] == behind]
    if same:
        # The outermost first.
        return sorted(dict.fromkeys(same), key=lambda one: one.count("."))
    near = nearest(behind, [name.removeprefix(OURS) for name in settings])
    if near:
        return [OURS + near]
    family = behind.partition("_")[0]
    return [one for one in sorted(settings) if f"{one}_".startswith(f"{OURS}{family}_")] if family in FAMILIES else []


def _inner(option: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, inner in (option.get("options") or {}).items():
        yield before + name
        yield from _inner(inner, f"{before}{name}.")
