# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper with the real clients against the stand-in, and below a real ansible-playbook."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.dates import parse_date
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.window_notes import noted_windows
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import close_window, open_window
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports.journal import RunJournal
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import (
    WindowError,
    WindowSession,
    WindowSpec,
)

from tests.stand_in.client import StandIn
from tests.stand_in.settings import Settings
from tests.support.running import Ansible

BUCKET = "backup-web1"


class LockedBucket:
    """A bucket with an object in every part of a locked repository, on a stand-in."""

    def __init__(self, stand_in: StandIn, folder: Path) -> None:
        self.stand_in = stand_in
        self.folder = folder
        self.bucket = f"backup-{secrets.token_hex(4)}"
        self.cloudflare = CloudflareLocks(
            stand_in.api_token, stand_in.account_id, url=stand_in.api_url, retry_timeout=5
        )
        self.cloudflare.create_bucket(self.bucket)
        for rule in lock_set(""):
            self.s3().call("put_object", Key=rule["prefix"].replace("/", "/0123"), Body=b"x")
        self.cloudflare.replace_lock_rules(self.bucket, lock_set(""))

    def s3(self, **settings: Any) -> S3:
        found = self.stand_in
        return S3(found.s3_endpoint, found.access_key_id, found.secret_access_key, bucket=self.bucket, **settings)

    def spec(self, **changes: Any) -> WindowSpec:
        account = (self.stand_in.api_token, self.stand_in.account_id)
        values: dict[str, Any] = {
            "bucket": self.bucket,
            "prefix": "",
            "parts": ("index", "data"),
            "cloudflare": partial(CloudflareLocks, *account, url=self.stand_in.api_url, timeout=2),
            "s3": self.s3,
            "open_timeout": 10.0,
            "close_timeout": 60.0,
            "log_path": str(self.folder / "log"),
        }
        return WindowSpec(**{**values, **changes})

    @property
    def rules(self) -> list[dict[str, Any]]:
        return self.stand_in.rules(self.bucket)

    def exposures(self) -> list[dict[str, Any]]:
        return [found for found in self.stand_in.ledger()["exposures"] if found["bucket"] == self.bucket]

    def locked(self) -> bool:
        return self.rules == lock_set("") and all(found["to"] is not None for found in self.exposures())

    def lock_calls(self) -> list[str]:
        return [found["method"] for found in self.stand_in.requests() if found["path"].endswith(f"{self.bucket}/lock")]


@pytest.fixture(scope="module")
def running() -> Iterator[StandIn]:
    with StandIn.start() as found:
        yield found


@pytest.fixture
def stand_in(running: StandIn) -> Iterator[StandIn]:
    """One stand-in for all tests here, set back after each: most of them are quicker than its start."""
    yield running
    running.clear_faults()
    running.settings(**asdict(Settings()))


@pytest.fixture
def scene(stand_in: StandIn, tmp_path: Path) -> LockedBucket:
    return LockedBucket(stand_in, tmp_path)


def wait(condition: Callable[[], bool], seconds: float = 60) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "this never came about"
        time.sleep(0.01)
    return time.monotonic() - start


# --- the course of a window ------------------------------------------------------------------------------------------


def test_only_what_was_asked_for_is_open_and_only_for_the_block(scene: LockedBucket, stand_in: StandIn) -> None:
    before = len(scene.lock_calls())
    with WindowSession(scene.spec()) as window:
        scene.s3().delete("data/0123")
    assert scene.lock_calls()[before:] == ["GET", "PUT", "GET"] * 2
    exposures = scene.exposures()
    assert sorted(found["prefix"] for found in exposures) == ["data/", "index/"]
    assert all(found["to"] is not None and found["seconds"] <= window.report["seconds"] for found in exposures)
    assert window.report["unproved"] == ["data/"]  # its only object was deleted, so there is nothing to probe
    assert scene.rules == lock_set("")


@pytest.mark.long
@pytest.mark.parametrize(("unlock_delay", "lock_delay"), [(2.0, 0.0), (0.0, 2.0), (1.5, 1.5)])
def test_lock_changes_that_take_effect_late(
    scene: LockedBucket, stand_in: StandIn, unlock_delay: float, lock_delay: float
) -> None:
    stand_in.settings(unlock_delay=unlock_delay, lock_delay=lock_delay)
    with WindowSession(scene.spec()):
        scene.s3().delete("data/0123")  # would be refused if the window were believed before it is proved
    assert scene.locked()


def test_opening_gives_up_and_closes(scene: LockedBucket, stand_in: StandIn) -> None:
    stand_in.settings(unlock_delay=600.0, lock_delay=0.0)
    with (
        pytest.raises(WindowError, match="still enforced after 2 seconds"),
        WindowSession(scene.spec(open_timeout=2.0)),
    ):
        pytest.fail("the block must not run")
    assert scene.rules == lock_set("")


@pytest.mark.parametrize("offset", [-3600.0, 3600.0])
def test_node_an_hour_off_neither_extends_nor_cuts_a_window(
    scene: LockedBucket, stand_in: StandIn, offset: float
) -> None:
    # Signatures tell the time too, which is another matter.
    stand_in.settings(clock_offset=offset, max_skew=100000.0)
    with WindowSession(scene.spec(lease_seconds=120)) as window:
        lease = scene.rules[-1]["condition"]["date"]
        scene.cloudflare.lock_rules(scene.bucket)  # tells the server's time
        left = parse_date(lease) - scene.cloudflare.server_time()
        assert timedelta(seconds=60) < left <= timedelta(seconds=121)  # the server tells its time to the second
        assert window.over() is None
    assert window.report["opened"] < lease <= window.report["lease"]
    assert window.report["ended_by"] == "its work is done"


def test_window_of_somebody_else_is_respected(scene: LockedBucket) -> None:
    lease = scene.cloudflare.server_time() + timedelta(seconds=60)
    opened = open_window(
        scene.cloudflare.lock_rules(scene.bucket), "", ["data"], lease=lease, holder="0123456789abcdef"
    )
    scene.cloudflare.replace_lock_rules(scene.bucket, opened)
    with pytest.raises(WindowError, match="held by 0123456789abcdef"), WindowSession(scene.spec()):
        pytest.fail("the block must not run")
    assert scene.rules == opened


def test_guard_that_closes_meanwhile_is_noticed_at_the_end(scene: LockedBucket) -> None:
    with WindowSession(scene.spec()) as window:
        scene.cloudflare.replace_lock_rules(scene.bucket, close_window(scene.cloudflare.lock_rules(scene.bucket), ""))
    assert window.report["closed_by_other"] is True and window.report["in_force"] is True


# --- faults ----------------------------------------------------------------------------------------------------------

FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "no JSON": {"status": 502, "body": "<html>bad gateway</html>"},
    "429": {"status": 429, "retry_after": 1},
    "time-out": {"delay": 3.0},
    "cut before": {"cut": "before"},
    "cut after": {"cut": "after"},
}


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("number", range(6))
def test_any_call_may_fail_once(
    scene: LockedBucket, stand_in: StandIn, fault: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.closer._AFTERSHOCKS", (1.0, 3.0)
    )
    stand_in.fault(path="/lock", skip=number, **FAULTS[fault])
    with WindowSession(scene.spec()):
        scene.s3().delete("data/0123")
    assert scene.locked()


@pytest.mark.long
def test_block_of_the_api_is_outlasted(scene: LockedBucket, stand_in: StandIn) -> None:
    stand_in.settings(rate_limit=3, rate_period=300.0, block_seconds=6.0)
    # Three calls open the window; the limit then blocks the closing ones, for less than five minutes here.
    stand_in.clear_faults()  # forgets the calls that made the bucket
    with WindowSession(scene.spec()) as window:
        pass
    assert scene.locked() and window.report["in_force"] is True
    assert window.report["seconds"] >= 6


def test_token_that_may_not_write_changes_nothing(scene: LockedBucket, stand_in: StandIn) -> None:
    token = stand_in.create_token("reader", write=False)
    client = partial(CloudflareLocks, token["value"], stand_in.account_id, url=stand_in.api_url)
    with (
        pytest.raises(WindowError, match="lacks the permission") as caught,
        WindowSession(scene.spec(cloudflare=client)),
    ):
        pytest.fail("the block must not run")
    assert token["value"] not in str(caught.value)
    assert scene.rules == lock_set("")


# --- below ansible-playbook ------------------------------------------------------------------------------------------


class ModuleWindow:
    """An ansible-playbook whose module holds a window open."""

    def __init__(self, ansible: Ansible, scene: LockedBucket, *, without_code: bool = False, **settings: Any) -> None:
        stand_in, folder = scene.stand_in, scene.folder
        self.folder = folder
        task = {
            "name": "Hold a window",
            "hold_window": {
                "account_id": stand_in.account_id,
                "api_token": stand_in.api_token,
                "api_url": stand_in.api_url,
                "s3_endpoint": stand_in.s3_endpoint,
                "bucket": scene.bucket,
                "folder": str(folder),
                "settings": settings,
                "without_code": without_code,
            },
        }
        play = {"hosts": "localhost", "gather_facts": False, "tasks": [task]}
        inventory = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}
        library = {"ANSIBLE_LIBRARY": str(Path(__file__).parent / "library")}
        self.process, _record = ansible.start_playbook([play], inventory, environment=library, start_new_session=True)
        wait(lambda: (folder / "open").exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()[0]
        self.told: dict[str, Any] = json.loads((folder / "open").read_text(encoding="utf-8"))

    def end(self) -> str:
        try:
            return str(self.process.communicate(timeout=120)[0])
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def record_of(scene: LockedBucket) -> Path:
    record = scene.folder / "records" / scene.bucket
    record.mkdir(parents=True)
    return record


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.long
def test_module_that_is_killed_with_its_code_removed_leaves_it_locked(ansible: Ansible, scene: LockedBucket) -> None:
    record = record_of(scene)
    held = ModuleWindow(ansible, scene, without_code=True, lease_seconds=4, noted_in=str(record))
    assert not scene.locked()
    # What Ansible copied for the module goes away with the module; the keeper must have all it needs in memory.
    assert held.told["zips"] and not any(os.path.exists(path) for path in held.told["zips"])
    shutil.rmtree(ansible.home / "remote", ignore_errors=True)
    log = held.folder / "log"
    wait(lambda: any(word in log.read_text(encoding="utf-8") for word in ("lease extended", "closing")))
    assert "closing" not in log.read_text(encoding="utf-8")
    os.kill(held.told["module"], signal.SIGKILL)
    wait(scene.locked)
    wait(lambda: not alive(held.told["keeper"]))
    text = log.read_text(encoding="utf-8")
    assert "closing: its parent is gone" in text and "closed, in force" in text
    # Its note says so, until the run is over that may write it down.
    (noted,) = noted_windows(str(record.parent))
    assert noted.report and noted.report["in_force"] is True and not noted.left(datetime.now(timezone.utc))
    held.end()


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signal_to_the_process_group_of_ansible(ansible: Ansible, scene: LockedBucket, number: signal.Signals) -> None:
    record = record_of(scene)
    held = ModuleWindow(ansible, scene, noted_in=str(record))
    os.killpg(held.process.pid, number)
    os.kill(held.told["module"], signal.SIGKILL)  # not in that group with every version of Ansible
    wait(scene.locked)
    wait(lambda: not alive(held.told["keeper"]))
    held.end()
    # Nobody is there any more who could write the window down; the next run does.
    journal = RunJournal(str(record.parent))
    # A worker of an ansible-playbook that was killed lives on for a moment.
    wait(lambda: journal.append([])["journal"]["lines"] > 0)
    ((_place, line),) = journal.lines()
    told = json.loads(line)
    assert (told["run"], told["result"], told["bucket"]) == ("window", "ok", scene.bucket)
    assert [window["in_force"] for window in told["windows"]] == [True] and not list(record.iterdir())


@pytest.mark.long
def test_keeper_does_not_hold_up_ansible_and_its_end_is_reported(ansible: Ansible, scene: LockedBucket) -> None:
    held = ModuleWindow(ansible, scene)
    command = Path(f"/proc/{held.told['keeper']}/cmdline").read_bytes()
    assert scene.stand_in.api_token.encode() not in command and scene.stand_in.secret_access_key.encode() not in command
    (held.folder / "done").touch()
    held.end()
    assert held.process.returncode == 0
    assert scene.locked() and not alive(held.told["keeper"])
    log = (held.folder / "log").read_text(encoding="utf-8")
    assert scene.stand_in.api_token not in log and scene.stand_in.secret_access_key not in log
