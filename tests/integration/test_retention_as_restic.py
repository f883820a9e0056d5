# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our retention against restic's own, on generated histories.

Every history is a group of snapshots (a host of its own) in one local repository, so that one `restic forget --dry-run`
judges a hundred histories. The snapshot objects are written here, encrypted as restic does it, because a backup for each
would take hours.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.jobs import TAG, Jobs
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.retention import (
    COUNTED,
    claimed_time,
    policy_from,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.retention_plan import Plan, Times, decide
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.repository_format import Key, key_object, name_of

HISTORIES = 100
EXAMPLES, FEW = 52, 6  # of HISTORIES each
PERIODS = COUNTED[1:]
NOW = datetime.now(timezone.utc).replace(microsecond=0)


class Repository:
    """A local repository whose snapshots can be replaced quickly."""

    def __init__(self, folder: Path, restic_path: str) -> None:
        self.path = folder / "repository"
        self.program = restic_path
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RESTIC_REPOSITORY": str(self.path),
            "RESTIC_PASSWORD": "none",
            "TZ": "UTC",
        }
        self.restic("init")
        self.master = Key.from_json(json.loads(self.restic("cat", "masterkey")))
        self._replace("keys", [key_object("none", self.master)])  # restic's own takes it half a second to open

    def restic(self, *args: str) -> str:
        done = subprocess.run(
            [self.program, "--no-cache", *args],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout

    def replace_snapshots(self, snapshots: list[dict[str, Any]]) -> None:
        """Make these the snapshots of the repository, and give each its id."""
        sealed = [self.master.seal_json(snapshot) for snapshot in snapshots]
        for snapshot, content in zip(snapshots, sealed, strict=True):
            snapshot["id"] = name_of(content)
        self._replace("snapshots", sealed)

    def _replace(self, kind: str, contents: list[bytes]) -> None:
        for path in (self.path / kind).iterdir():
            path.unlink()
        for content in contents:
            (self.path / kind / name_of(content)).write_bytes(content)

    def forget(self, params: dict[str, Any], group_by: str) -> dict[str, tuple[str, ...]]:
        """What restic would keep, with its reasons, and what it would remove, with none."""
        args = [f"--group-by={group_by}"]
        for name, value in params.items():
            for one in value if isinstance(value, list) else [value]:
                option = "keep-tag" if name == "keep_tags" else name.replace("_", "-")
                args.append(f"--{option}={'unlimited' if one == -1 else one}")
        answer = json.loads(self.restic("forget", "--dry-run", "--no-lock", "--json", *args))
        judged: dict[str, tuple[str, ...]] = {}
        for group in answer:
            judged.update({snapshot["id"]: () for snapshot in group["remove"] or ()})
            judged.update({entry["snapshot"]["id"]: tuple(entry["matches"]) for entry in group["reasons"] or ()})
        return judged


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, restic_path: str) -> Repository:
    return Repository(tmp_path_factory.mktemp("retention"), restic_path)


DURATIONS = st.builds(
    "".join, st.lists(st.builds("{}{}".format, st.integers(0, 40), st.sampled_from("ymdh")), min_size=1, max_size=3)
)
POLICIES = st.fixed_dictionaries(
    # Something that keeps at least one snapshot of every history.
    {"keep_last": st.sampled_from([1, 1, 2, 5, -1])},
    optional={
        **{f"keep_{word}": st.sampled_from([1, 2, 3, 7, 12, -1]) for word in PERIODS},
        "keep_within": DURATIONS,
        **{f"keep_within_{word}": DURATIONS for word in PERIODS},
        "keep_tags": st.lists(st.sampled_from(["a", "b", "a,b", "c", ""]), min_size=1, max_size=2),
    },
)
COUNTED_ONLY = st.dictionaries(
    st.sampled_from([f"keep_{word}" for word in COUNTED]), st.sampled_from([1, 2, 3, 7, 12]), min_size=1, max_size=3
)


def history(generator: random.Random, host: str) -> list[dict[str, Any]]:
    """The snapshots of one host: from several in an hour to one in years, with gaps, zones and wrong clocks."""
    step = generator.choice([600, 3600, 5 * 3600, 86400, 86400, 7 * 86400, 20 * 86400, 200 * 86400])
    zone = timezone(timedelta(minutes=generator.choice([0, 0, 0, 60, 120, -300, 330, 765])))
    moment = NOW - timedelta(seconds=generator.randrange(600, 600 + 4 * step))
    if generator.random() < 0.1:
        moment += timedelta(days=generator.randrange(2, 900))  # the newest ones are in the future
    found = []
    for _number in range(generator.randrange(1, 26)):
        if abs(moment - NOW) < timedelta(minutes=5):
            break  # whether it is in the future would depend on when restic looks
        found.append(
            {
                "time": moment.astimezone(zone).isoformat(),
                "tree": "0" * 64,
                "paths": ["/srv", "/etc"],
                "hostname": host,
                **generator.choice([{}, {}, {"tags": ["a"]}, {"tags": ["b", "a"]}, {"tags": ["x"]}]),
            }
        )
        moment -= timedelta(seconds=generator.randrange(1, 2 * step))
        if generator.random() < 0.05:
            moment -= timedelta(days=generator.randrange(1, 800))
    return found


def judged(examples: int) -> Any:
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )


def assert_decides_as_restic_does(repository: Repository, params: dict[str, Any], seed: int) -> None:
    generator = random.Random(seed)
    snapshots = [snapshot for number in range(HISTORIES) for snapshot in history(generator, f"host{number}")]
    repository.replace_snapshots(snapshots)
    assert decided(snapshots, Plan(policy_from(params))) == repository.forget(params, "host,paths")


def decided(snapshots: list[dict[str, Any]], plan: Plan) -> dict[str, tuple[str, ...]]:
    stored = {snapshot["id"]: claimed_time(snapshot) for snapshot in snapshots}
    times = Times(claimed_time, stored, datetime.now(timezone.utc))
    return {decision.id: decision.reasons for decision in decide(snapshots, plan, times)}


@pytest.mark.sample(of="stories")
@judged(FEW)
@given(params=POLICIES | COUNTED_ONLY, seed=st.integers(0, 2**32))
def test_decides_some_as_restic_does(repository: Repository, params: dict[str, Any], seed: int) -> None:
    assert_decides_as_restic_does(repository, params, seed)


@pytest.mark.proof
@judged(EXAMPLES)
@given(params=POLICIES | COUNTED_ONLY, seed=st.integers(0, 2**32))
def test_decides_as_restic_does(repository: Repository, params: dict[str, Any], seed: int) -> None:
    assert_decides_as_restic_does(repository, params, seed)


@pytest.mark.sample(of="stories")
@judged(FEW)
@given(params=POLICIES.filter(lambda params: "keep_tags" not in params) | COUNTED_ONLY, seed=st.integers(0, 2**32))
def test_decides_by_job_as_restic_does_by_tag(repository: Repository, params: dict[str, Any], seed: int) -> None:
    """Jobs whose paths change all the time, of one host: restic's own grouping by tags is what ours has to equal."""
    generator = random.Random(seed)
    snapshots = []
    names = [f"job{number}" for number in range(HISTORIES)]
    for name in names:
        for snapshot in history(generator, "web1"):
            paths = generator.sample(["/srv", "/etc", "/home", "/opt"], generator.randrange(1, 4))
            snapshots.append({**snapshot, "paths": paths, "tags": [TAG + name]})
    repository.replace_snapshots(snapshots)
    known = names if seed % 2 else ()
    jobs = Jobs([{"name": name, "paths": ["/srv"]} for name in known], ["web1"])
    assert decided(snapshots, Plan(policy_from(params), jobs)) == repository.forget(params, "host,tags")
