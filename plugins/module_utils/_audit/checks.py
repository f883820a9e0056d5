# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns facts into findings, some of which block maintenance. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Optional

from .._common.errors import HoldfastError
from .._common.untrusted import LONG, shown
from .._locks.rules import (
    PARTS,
    Rule,
    condition_problem,
    format_date,
    in_the_way,
    in_the_way_sentence,
    missing_parts,
    problems,
    rule_id,
)
from .._locks.windows import window_of
from .._restic.retention import Decision

BLOCK, WARN = "block", "warn"
# A host that fills a bucket must not fill the log of an audit as well, nor the memory of Ansible, which holds each result
# several times: so many keys are kept on the node, and so many are told.
MOST_OBJECTS, MOST_TOLD = 10_000, 100
_DELETABLE = ("snapshots/", "index/", "data/")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Args:
        code: A fixed name.
        severity: "block": no window may open; "warn": a person should look.
        evidence: What was seen, in one sentence; what a host could have written in it is made visible.
        what_to_do: What a person does about it, in one sentence.
        objects: The keys of the objects that it is about, as far as it is about objects.
    """

    code: str
    severity: str
    evidence: str
    what_to_do: str
    objects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "evidence", shown(self.evidence, LONG))

    @property
    def id(self) -> str:
        """The name of the finding for a person, who need not copy keys that a host has chosen."""
        # As json.dumps([code, keys]) writes it, a piece at a time: a host chooses how many keys there are.
        digest = hashlib.sha256(f"[{json.dumps(self.code)}, [".encode())
        for number, key in enumerate(sorted(self.objects)):
            digest.update(f"{', ' if number else ''}{json.dumps(key)}".encode())
        digest.update(b"]]")
        return digest.hexdigest()[:12]

    def as_dict(self) -> dict[str, Any]:
        """The finding for people: the keys are made visible, and no longer keys."""
        objects = [shown(key, LONG) for key in self.objects[:MOST_TOLD]]
        return {**asdict(self), "objects": objects, "id": self.id}


class AuditError(HoldfastError):
    """Findings that say: not a step further."""


def stop_if_blocked(findings: Iterable[Finding], intro: str) -> None:
    """Raise AuditError when one of the findings blocks."""
    blocking = [finding for finding in findings if finding.severity == BLOCK]
    if blocking:
        first, more = blocking[0], len(blocking) - 1
        others = f" ({more} more findings like this.)" if more else ""
        raise AuditError(f"{intro}: {first.evidence} {first.what_to_do}{others}")


def below(part: str, names: Iterable[str]) -> tuple[str, ...]:
    """Keys below the repository's prefix, sorted."""
    return tuple(f"{part}/{name}" for name in sorted(names))


def locks(rules: list[Rule], prefix: str, now: datetime) -> list[Finding]:
    """The lock set must be complete and enabled, and no window open."""
    wrong = [problem.sentence for problem in problems(rules) if problem.concerns(prefix)]
    if wrong:
        return [
            Finding("lock_document", BLOCK, wrong[0], "Correct the rule by hand; it is never repaired by guessing.")
        ]
    missing = missing_parts(rules, prefix)
    if missing:
        evidence = f"The lock set is not complete: there is no rule for {', '.join(missing)}."
        return [Finding("lock_set", BLOCK, evidence, "Apply the lock set with r2_bucket_lock first.")]
    window = window_of(rules, prefix)
    if window and window.lease and window.live(now):
        evidence = f"A window ({', '.join(window.parts)}) is open until {format_date(window.lease)}."
        return [Finding("window_open", BLOCK, evidence, "Wait for its end; only one maintenance may run at a time.")]
    if window:
        evidence = f"A window ({', '.join(window.parts)}) was left open."
        return [Finding("window_left_open", BLOCK, evidence, "Run the relock playbook, and find out what happened.")]
    foreign = in_the_way(rules, prefix, now)
    if foreign:
        return [
            Finding("foreign_rule", BLOCK, in_the_way_sentence(rule, prefix), "Nothing was unlocked.")
            for rule in foreign
        ]
    desired = {rule_id(prefix, part) for part in PARTS}
    kinds = {
        rule["condition"]["type"]
        for rule in rules
        if rule["id"] in desired and not condition_problem(rule["condition"])
    }
    if kinds != {"Indefinite"}:
        evidence = f"The lock set ends by itself ({', '.join(sorted(kinds))}): packs that are still needed become free."
        return [Finding("lock_not_indefinite", WARN, evidence, "Apply the lock set without an end.")]
    return []


def enforcement(states: Mapping[str, str], desired: str = "locked") -> list[Finding]:
    """Every prefix must answer the probe as desired.

    Args:
        states: What the probe said ("locked", "open", "missing") of each prefix.
    """
    return [
        Finding(
            "not_enforced",
            BLOCK,
            f"The lock rules are enabled, but the probe of {prefix} says {state}.",
            "Look at the bucket's rules and the repository before anything else.",
        )
        for prefix, state in states.items()
        if state != desired
    ]


def identity(config_id: Optional[str], expected: Iterable[Optional[str]]) -> list[Finding]:
    """The repository must be the one that is expected."""
    return [
        Finding(
            "repository_id",
            BLOCK,
            f"The repository's id is {config_id}, but {desired} was recorded.",
            "An attacker replaced the repository, or the record belongs to another one.",
        )
        for desired in sorted({desired for desired in expected if desired})
        if desired != config_id
    ]


def recorded(keys: Iterable[str], recorded_keys: Iterable[str], changed: Iterable[str]) -> list[Finding]:
    """Keys and config must be exactly the recorded ones.

    Args:
        keys: The names of the objects below keys/.
        recorded_keys: The names in the record.
        changed: The objects whose content is not the recorded one.
    """
    keys, recorded_keys = set(keys), set(recorded_keys)
    found = []
    foreign, gone, changed = sorted(keys - recorded_keys), sorted(recorded_keys - keys), sorted(changed)
    if foreign:
        evidence = f"keys/ holds {len(foreign)} objects that were not recorded, the first is {foreign[0][:12]}."
        found.append(
            Finding(
                "foreign_key",
                BLOCK,
                evidence,
                "Record the key if it is yours; else remove it in a manual window.",
                below("keys", foreign),
            )
        )
    if gone:
        evidence = f"The recorded key {gone[0][:12]} is gone from keys/."
        found.append(Finding("key_gone", BLOCK, evidence, "Find out how, and put it back from the record."))
    if changed:
        evidence = f"The content of {', '.join(changed)} is not the recorded one."
        found.append(Finding("content_changed", BLOCK, evidence, "Find out how, and put it back from the record."))
    return found


def leaving(keys: Collection[str]) -> list[Finding]:
    """Keys whose removal was begun, and that are still there."""
    if not keys:
        return []
    evidence = f"The key {min(keys)[:12]} is still in keys/: its removal was begun and did not end."
    what = "Run the password playbook again with holdfast_password_step=remove."
    return [Finding("key_leaving", WARN, evidence, what, below("keys", keys))]


def unused(objects: Iterable[str]) -> list[Finding]:
    """A repository without any data has nothing to maintain: its first backup is still to come."""
    if any(objects):
        return []
    evidence = "The repository holds no data, index or snapshot yet."
    return [Finding("unused", WARN, evidence, "Nothing, if the host is new; else find out why it makes no backups.")]


def not_sound(errors: list[str]) -> list[Finding]:
    """restic check found errors."""
    if not errors:
        return []
    evidence = f"The repository has errors, the first: {errors[0]}."
    return [Finding("not_sound", BLOCK, evidence, "Do not unlock by hand; read all data, then see the recovery guide.")]


def other_restics(locks: Mapping[str, Any], waited: float) -> list[Finding]:
    """Objects below locks/ that did not go.

    Args:
        locks: When each was stored, by key.
        waited: For how many seconds.
    """
    if not locks:
        return []
    first = min(locks, key=lambda key: str(locks[key]))
    evidence = (
        f"Another restic works in the repository, or left a lock there: {len(locks)} objects, the oldest is {first}, stored "
        f"{locks[first]:%Y-%m-%dT%H:%M:%SZ}; maintenance waited for {waited:g} seconds."
    )
    what = "Run it again later; when nothing runs, remove them with restic unlock --remove-all."
    return [Finding("repository_locked", BLOCK, evidence, what)]


def duplicates(count: int) -> list[Finding]:
    """Data that is in the repository twice, and was read: after an interrupted prune, or because of a planted index."""
    if not count:
        return []
    evidence = (
        f"{count} blobs are in the repository more than once. All data was read and is intact, so any copy will do."
    )
    what = "Nothing, if a prune was interrupted before; else look for index objects that no backup made."
    return [Finding("duplicates", WARN, evidence, what)]


def removals(decisions: Iterable[Decision], limit: str) -> list[Finding]:
    """No more snapshots may go at once than the limit allows."""
    decisions = list(decisions)
    going = sum(not decision.keep for decision in decisions)
    most = parse_limit(limit, len(decisions))
    if going <= most:
        return []
    evidence = f"{going} of {len(decisions)} snapshots would be removed, but max_remove is {limit}."
    return [
        Finding("too_many_removals", BLOCK, evidence, "Look at the policy and the snapshots; then raise max_remove.")
    ]


def parse_limit(limit: str, total: int) -> int:
    """A limit as a number, from a number or a percentage of the total."""
    match = re.fullmatch(r"(\d{1,9})(%?)", limit.strip())
    if not match or (match[2] and int(match[1]) > 100):
        raise HoldfastError(f"max_remove is {limit!r}; it must be a number of snapshots or a percentage like 90%.")
    return total * int(match[1]) // 100 if match[2] else int(match[1])


def vanished(before: Mapping[str, Any], after: Mapping[str, Any], planned: Iterable[str]) -> list[Finding]:
    """Vanished objects must have been planned; the others must be unchanged.

    Args:
        before: What identifies each object (such as size and time), by key.
        after: The same, later.
        planned: The keys that were to go.
    """
    planned = set(planned)
    lost = sorted(key for key in before if key not in after and key not in planned)
    altered = sorted(key for key in before if key in after and after[key] != before[key])
    found = []
    if lost:
        evidence = f"{len(lost)} objects vanished although maintenance did not delete them, the first is {lost[0]}."
        found.append(
            Finding("lost", BLOCK, evidence, "Stop using the S3 keys of this bucket, and look at the data now.")
        )
    if altered:
        evidence = f"{len(altered)} objects were replaced, the first is {altered[0]}."
        found.append(
            Finding("replaced", BLOCK, evidence, "Stop using the S3 keys of this bucket, and look at the data now.")
        )
    return found


def otherwise(differences: Mapping[str, str]) -> list[Finding]:
    """Objects that were judged, or that maintenance added, are not as they were.

    Args:
        differences: "missing" or "changed", by key below the prefix.
    """
    what = "Stop using the S3 keys of this bucket, and look at the data now."
    kinds = (("missing", "lost", "vanished"), ("changed", "replaced", "were replaced"))
    found = []
    for kind, code, text in kinds:
        keys = tuple(sorted(key for key, how in differences.items() if how == kind))
        if keys:
            evidence = f"{len(keys)} objects {text} that must stay as they are, the first is {keys[0]}."
            found.append(Finding(code, BLOCK, evidence, what, keys))
    return found


def unplanned(deletes: Collection[str], known: Collection[str], going: Collection[str]) -> list[Finding]:
    """restic may delete index objects and packs that were judged, and the snapshots that the policy lets go.

    Args:
        deletes: The keys below the prefix that it would delete.
        known: The keys below the prefix that were judged or that it has added.
        going: The ids of the snapshots.
    """
    planned = {f"snapshots/{name}" for name in going}
    snapshots = {key for key in deletes if key.startswith("snapshots/")}
    wrong = sorted({key for key in deletes if key not in known or not key.startswith(_DELETABLE)} | snapshots ^ planned)
    if not wrong:
        return []
    evidence = f"restic would not delete exactly the planned objects: {len(wrong)} differ, the first is {wrong[0]}."
    what = "Look at that restic, and at the objects."
    return [Finding("unplanned_deletes", BLOCK, evidence, what, tuple(wrong))]


def still_named(packs: Iterable[str], deletes: Collection[str]) -> list[Finding]:
    """The index that restic has written must not name what goes.

    Args:
        packs: The packs that the new index objects name.
        deletes: The keys below the prefix that are to go.
    """
    going = {key.rpartition("/")[2] for key in deletes if key.startswith("data/")}
    named = sorted(going & set(packs))
    if not named:
        return []
    evidence = f"The new index names {len(named)} packs that restic would delete, the first is {named[0][:12]}."
    what = "Look at that restic, and at the objects."
    return [Finding("unplanned_deletes", BLOCK, evidence, what, tuple(f"data/{name[:2]}/{name}" for name in named))]


def leftovers(left: Collection[str]) -> list[Finding]:
    """Packs that could not be deleted, and that nothing needs."""
    if not left:
        return []
    evidence = f"{len(left)} packs that should have been deleted are still there, the first is {min(left)}."
    return [Finding("leftovers", WARN, evidence, "The next maintenance removes them.")]
