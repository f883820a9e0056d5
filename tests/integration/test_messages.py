# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages and heartbeats, sent to real receivers on this machine."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import lock_set
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.windows import open_window
from ansible_collections.holdfast.restic_r2.plugins.module_utils._reports import messages

from tests.integration.test_journal_of_runs import REPORT, end_of_run, lines
from tests.stand_in.client import StandIn
from tests.support.receiver import Receiver, receiver
from tests.support.running import Ansible

SECRET = "secret-5d1e"
ILL = {**REPORT, "done": False, "text": "The locks are not in force."}


class Mailbox:
    """Keeps the mails that a server gets."""

    def __init__(self) -> None:
        self.mails: list[str] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.mails.append(envelope.content.decode())
        return "250 OK"


@pytest.fixture(name="mailbox")
def fixture_mailbox() -> Iterator[tuple[Mailbox, str]]:
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, f"mailto://127.0.0.1:{port}?from=holdfast@example.com&to=ops@example.com&name={SECRET}"
    controller.stop()


@pytest.fixture(name="http")
def fixture_http() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def message(ansible: Ansible, folder: Path, **arguments: Any) -> dict[str, Any]:
    own = {"record_dir": str(folder), "run": "verify", "title": "holdfast verify: 1 of 2 failed", "body": "web1 FAILED"}
    return ansible.module("message", **{"state": "failed", **own, **arguments})


def test_mail_and_ntfy_get_the_message(
    ansible: Ansible, tmp_path: Path, mailbox: tuple[Mailbox, str], http: Receiver
) -> None:
    box, address = mailbox
    result = message(ansible, tmp_path, urls=[address, f"ntfy://{SECRET}:x@127.0.0.1:{http.port}/backups"])
    assert (result["sent"], result["kept"], result["problems"]) == (2, 0, []), result
    (mail,) = box.mails
    assert "1_of_2_failed" in mail.replace(" ", "_") and "web1 FAILED" in mail
    ((path, body),) = http.heard
    told = json.loads(body)
    assert (path, told["topic"], told["message"]) == ("/", "backups", "web1 FAILED")
    assert SECRET not in json.dumps(result)


@pytest.mark.long
def test_what_could_not_be_sent_is_kept_and_sent_later_and_once(
    ansible: Ansible, tmp_path: Path, http: Receiver
) -> None:
    with_one_dead = [f"ntfy://{SECRET}:x@127.0.0.1:9/backups", f"ntfy://127.0.0.1:{http.port}/backups"]
    result = message(ansible, tmp_path, urls=with_one_dead)
    assert (result["sent"], result["kept"]) == (1, 1)
    assert result["problems"] == [
        "Entry 1 of holdfast_notify (ntfy) did not take a message; it is kept for the next run."
    ]
    kept = tmp_path / "unsent.json"
    assert SECRET not in kept.read_text() and kept.stat().st_mode & 0o077 == 0

    # The address works again at the next run, which has nothing to tell itself.
    http.status = 500
    assert message(ansible, tmp_path, urls=with_one_dead, state="ok", send=False)["kept"] == 1
    http.status = 200
    again = message(ansible, tmp_path, urls=with_one_dead, state="ok", send=False)
    assert (again["sent"], again["kept"], len(http.heard)) == (0, 1, 1)
    kept.write_text(kept.read_text().replace('"title": "', '"title": "again '))
    moved = json.loads(kept.read_text())
    moved[0]["to"] = [digest(with_one_dead[1])]
    kept.write_text(json.dumps(moved))
    assert message(ansible, tmp_path, urls=with_one_dead, state="ok", send=False)["sent"] == 1
    assert json.loads(http.heard[1][1])["title"].startswith("Late, from ") and json.loads(kept.read_text()) == []


def digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def test_a_heartbeat_tells_start_success_and_failure(ansible: Ansible, tmp_path: Path, http: Receiver) -> None:
    heartbeat = f"http://127.0.0.1:{http.port}/{SECRET}/node-RUN"
    started = message(ansible, tmp_path, state="start", heartbeat=heartbeat)
    for state in ("ok", "failed"):
        message(ansible, tmp_path, state=state, heartbeat=heartbeat, run_id=started["run_id"])
    rid = f"?rid={started['run_id']}"
    paths = [path.removeprefix(f"/{SECRET}/node-verify") for path, _body in http.heard]
    assert paths == [f"/start{rid}", rid, f"/fail{rid}"]
    assert [body.splitlines()[-1] for _path, body in http.heard[1:]] == ["exit status 0", "exit status 2"]
    assert http.heard[2][1].startswith("web1 FAILED\n")
    dead = message(ansible, tmp_path, heartbeat=f"http://127.0.0.1:9/{SECRET}")
    assert dead["problems"] == ["The heartbeat (http) could not be sent: URLError."]


@pytest.mark.parametrize("url", [f"no-such-service://{SECRET}", f"mailto://{SECRET}@"])
def test_an_address_that_cannot_be_used_is_refused_and_not_shown(ansible: Ansible, tmp_path: Path, url: str) -> None:
    result = message(ansible, tmp_path, state="start", urls=[url])
    assert result["failed"] and "Entry 1 of holdfast_notify" in result["msg"] and SECRET not in json.dumps(result)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "apprise", None)
    messages.refuse_unusable([])
    with pytest.raises(messages.MessageError, match="has no library Apprise: install it"):
        messages.refuse_unusable(["ntfy://x/y"])


@pytest.mark.sample(of="stories")
def test_a_run_tells_once_with_its_table_and_keeps_its_result(ansible: Ansible, tmp_path: Path, http: Receiver) -> None:
    told = {
        "holdfast_notify": [f"ntfy://{SECRET}:x@127.0.0.1:{http.port}/backups", f"ntfy://{SECRET}:x@127.0.0.1:9/dead"],
        "holdfast_heartbeat": f"http://127.0.0.1:{http.port}/{SECRET}/RUN",
    }
    run = end_of_run(ansible, tmp_path / "records", "-vvv", report=ILL, **told)
    assert run.exit_code == 2 and SECRET not in run.output, run.output
    (_path, sent), (path, tail) = http.heard
    assert json.loads(sent)["title"] == "holdfast verify: 2 of 2 failed"
    assert json.loads(sent)["message"].count("FAILED") == 2 and tail.count("FAILED") == 2
    assert path.startswith(f"/{SECRET}/verify/fail?rid=")
    assert "Entry 2 of holdfast_notify (ntfy) did not take a message" in run.output

    # A run that is well says nothing, unless that is wanted; what waits does not fail it.
    run = end_of_run(ansible, tmp_path / "records", **told)
    assert run.exit_code == 0, run.output
    assert [path.partition("?")[0] for path, _body in http.heard[2:]] == [f"/{SECRET}/verify"]


@pytest.mark.long
def test_what_is_wrong_with_the_settings_of_the_first_host_keeps_nothing_back(
    ansible: Ansible, tmp_path: Path, http: Receiver
) -> None:
    records, page = tmp_path / "records", tmp_path / "page"
    wrong = {
        "holdfast_record_dir": ["a", "b"], "holdfast_notify": {"a": "b"}, "holdfast_orphan_buckets": ["a", "b"],
        "holdfast_report_price": "dear", "holdfast_hearbeat": "misspelt",
    }  # fmt: skip
    told = {
        "holdfast_notify": [f"ntfy://127.0.0.1:{http.port}/backups"],
        "holdfast_heartbeat": f"http://127.0.0.1:{http.port}/RUN",
        "holdfast_report_dir": str(page),
    }
    run = end_of_run(ansible, records, report=ILL, first=wrong, **told)
    assert run.exit_code == 2, run.output
    (_path, sent), (ended, _body) = http.heard
    assert json.loads(sent)["title"] == "holdfast verify: 2 of 2 failed" and ended.startswith("/verify/fail?"), (
        run.output
    )
    # Its journal and its repository are not known.
    assert [(one["host"], one.get("bucket")) for one in lines(records)] == [("web1", None), ("web2", "backup-web2")]
    assert (page / "index.html").exists()


@pytest.mark.long
def test_the_guard_tells_what_it_closed_and_why_it_failed(
    ansible: Ansible, tmp_path: Path, http: Receiver, stand_in: StandIn
) -> None:
    settings = {
        "holdfast_account_id": stand_in.account_id, "holdfast_api_token": "wrong", "holdfast_api_url": stand_in.api_url,
        "holdfast_record_dir": str(tmp_path / "guard"), "holdfast_jurisdictions": ["default"],
        "holdfast_notify": [f"ntfy://{SECRET}:x@127.0.0.1:{http.port}/backups"],
        "holdfast_heartbeat": f"http://127.0.0.1:{http.port}/{SECRET}/RUN",
    }  # fmt: skip
    run = ansible.playbook(
        "holdfast.restic_r2.relock", {"all": {"hosts": {"localhost": {}}}}, "-vvv", variables=settings
    )
    assert run.exit_code == 2 and SECRET not in run.output, run.output
    (begun, _body), (_path, sent), (ended, _body) = http.heard
    assert json.loads(sent)["title"] == "holdfast guard: failed, 0 windows closed, 0 fences taken down"
    assert begun.startswith(f"/{SECRET}/guard/start?rid=") and ended == begun.replace("/start", "/fail")


@pytest.mark.long
def test_the_guard_has_closed_before_a_heartbeat_that_hangs_can_hold_it_up(
    ansible: Ansible, tmp_path: Path, http: Receiver, stand_in: StandIn
) -> None:
    cloudflare = CloudflareLocks(stand_in.api_token, stand_in.account_id, url=stand_in.api_url)
    cloudflare.create_bucket("backup-web1")
    locked = cloudflare.replace_lock_rules("backup-web1", lock_set(""))
    lease = cloudflare.server_time() - timedelta(seconds=5)
    cloudflare.replace_lock_rules(
        "backup-web1", open_window(locked, "", ["data"], lease=lease, holder="0123456789abcdef")
    )
    closed: list[bool] = []

    def hang_while_open(_path: str) -> None:
        closed.append(stand_in.rules("backup-web1") == locked)
        give_up = time.monotonic() + 60
        while stand_in.rules("backup-web1") != locked and time.monotonic() < give_up:
            time.sleep(0.1)

    http.meanwhile = hang_while_open
    settings = {
        "holdfast_account_id": stand_in.account_id, "holdfast_api_token": stand_in.api_token,
        "holdfast_api_url": stand_in.api_url, "holdfast_s3_endpoint": stand_in.s3_endpoint,
        "holdfast_record_dir": str(tmp_path / "guard"), "holdfast_jurisdictions": ["default"],
        "holdfast_heartbeat": f"http://127.0.0.1:{http.port}/RUN",
    }  # fmt: skip
    run = ansible.playbook("holdfast.restic_r2.relock", {"all": {"hosts": {"localhost": {}}}}, variables=settings)
    assert run.exit_code == 0, run.output
    assert closed == [True, True] and http.heard[0][0].startswith("/guard/start?rid="), http.heard


@pytest.mark.long
def test_a_run_that_could_not_tell_is_refused_before_anybody_is_contacted(
    ansible: Ansible, tmp_path: Path, stand_in: StandIn
) -> None:
    common = {
        "holdfast_account_id": stand_in.account_id, "holdfast_api_token": stand_in.api_token,
        "holdfast_api_url": stand_in.api_url, "holdfast_s3_endpoint": stand_in.s3_endpoint, "holdfast_password": "a password",
        "holdfast_record_dir": str(tmp_path / "records"), "holdfast_notify": [f"no-such-service://{SECRET}"],
    }  # fmt: skip
    inventory = {"holdfast": {"hosts": {"web1": {}, "web2": {}}, "vars": common}}
    run = ansible.playbook("holdfast.restic_r2.verify", inventory)
    assert run.exit_code == 2 and "is no address that Apprise knows" in run.output and SECRET not in run.output, (
        run.output
    )
    assert stand_in.requests(0) == [] and not (tmp_path / "records").exists()
