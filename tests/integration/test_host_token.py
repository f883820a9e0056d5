# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module r2_host_token: a host's token and its pair, through every death in between."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.examples import documentation
from tests.stand_in.client import StandIn
from tests.stand_in.others import cloudflare_client, code_of, new_bucket, s3_client, set_token_status
from tests.support.four_steps import Modules
from tests.support.running import COLLECTION, Ansible

BUCKET = "backup-web1"


class Host:
    """One host's token, its files, and what its keys are worth."""

    def __init__(self, ansible: Ansible, stand_in: StandIn, folder: Path) -> None:
        self.modules = Modules(ansible, stand_in)
        self.stand_in = stand_in
        self.records = folder / "records"
        self.arguments = {"name": BUCKET, "bucket": BUCKET, "record_dir": str(self.records)}

    def run(self, state: str = "present", **more: Any) -> dict[str, Any]:
        result = self.modules.run("r2_host_token", **{**self.arguments, "state": state, **more})
        for name in ("host_keys.json", "host_keys.next.json"):
            assert self.pair(name).get("secret_access_key", "no secret") not in str(result)
        return result

    def pair(self, name: str = "host_keys.json") -> dict[str, str]:
        path = self.records / BUCKET / name
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def answer(self, keys: dict[str, str]) -> str:
        try:
            s3_client(self.stand_in, keys).put_object(Bucket=BUCKET, Key=f"other/{secrets.token_hex(4)}", Body=b"x")
        except ClientError as error:
            return code_of(error)[0]
        return "ok"

    def names(self) -> list[str]:
        found = cloudflare_client(self.stand_in).accounts.tokens.list(account_id=self.stand_in.account_id)
        return sorted(token.name for token in found if token.name != "root")

    def killed(self, state: str, **fault: Any) -> None:
        """Run the module, and kill it while the request that the fault delays is on its way."""
        self.stand_in.fault(delay=1.0, **fault)
        since = self.stand_in.last_request()
        arguments = {
            "account_id": self.stand_in.account_id,
            "api_token": self.stand_in.api_token,
            "api_url": self.stand_in.api_url,
            **self.arguments,
            "state": state,
            "former_seconds": 3600,
            "_ansible_remote_tmp": str(self.records.parent),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", f"ansible_collections.{COLLECTION}.plugins.modules.r2_host_token"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=self.modules.ansible.environment(),
        )
        with process:
            assert process.stdin
            process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
            process.stdin.close()
            # The log has the path without its query.
            wanted = {"method": fault["method"], "path": fault["path"].replace(r"\?", "$")}
            for _request in range(fault.get("skip", 0) + 1):
                arrived = self.stand_in.wait_for_request(arrived=True, since=since, **wanted)["n"]
                since, before = arrived, since
            process.kill()
        self.stand_in.wait_for_request(since=before, **wanted)
        self.stand_in.clear_faults()


@pytest.fixture
def host(ansible: Ansible, stand_in: StandIn, tmp_path: Path) -> Host:
    new_bucket(stand_in, BUCKET, "free/")
    return Host(ansible, stand_in, tmp_path)


@pytest.mark.long
def test_pair_is_kept_where_only_the_owner_reads_it(host: Host) -> None:
    made = host.modules.four_steps("r2_host_token", **host.arguments)
    path = Path(made["keys_file"])
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert host.pair()["access_key_id"] == made["access_key_id"]
    assert host.answer(host.pair()) == "ok"
    assert set(made) - {"changed", "diff", "invocation"} == set(documentation("r2_host_token", "RETURN"))
    host.run()
    assert len(host.modules.calls) == 1, "an unchanged token costs more than one call"
    host.modules.four_steps("r2_host_token", **host.arguments, allowed_addresses=["192.0.2.7"])
    assert host.answer(host.pair()) == "AccessDenied"
    host.modules.four_steps("r2_host_token", **host.arguments, state="absent")
    assert host.names() == [] and host.pair() == {}


@pytest.mark.long
def test_what_was_staged_can_be_taken_back_until_it_has_taken_over(host: Host) -> None:
    host.run()
    used = host.pair()
    host.run("staged")
    host.modules.four_steps("r2_host_token", **host.arguments, state="unstaged")
    assert host.names() == ["holdfast/backup-web1"] and host.pair("host_keys.next.json") == {}
    assert host.pair() == used and host.answer(used) == "ok"
    # The pair has taken over, and the names have not followed: nothing is taken back.
    host.run("staged")
    (host.records / BUCKET / "host_keys.next.json").replace(host.records / BUCKET / "host_keys.json")
    assert host.run("unstaged")["changed"] is False
    assert host.answer(host.pair()) == "ok"


@pytest.mark.long
def test_death_before_the_pair_is_kept_is_repaired(host: Host) -> None:
    host.killed("present", method="POST", path="/tokens")
    assert host.names() == ["holdfast/backup-web1"] and "secret_access_key" not in host.pair()
    host.run()
    assert host.names() == ["holdfast/backup-web1"]
    assert host.answer(host.pair()) == "ok"


@pytest.mark.long
def test_lost_file_is_no_reason_to_take_the_keys_from_the_host(host: Host) -> None:
    host.run()
    keys = host.pair()
    (host.records / BUCKET / "host_keys.json").unlink()
    assert "run the rotate playbook" in host.modules.fail("r2_host_token", **host.arguments)
    assert host.answer(keys) == "ok"
    host.run("staged")
    host.run("promoted")
    assert host.answer(host.pair()) == "ok" and host.answer(keys) == "ok"


@pytest.mark.long
def test_what_was_listed_for_all_hosts_is_not_listed_for_each(host: Host) -> None:
    since = host.stand_in.last_request()
    host.run(known_tokens=["backup-web2"])
    calls = [one for one in host.stand_in.requests(since) if one["kind"] == "rest"]
    assert [one for one in calls if one["method"] == "GET" and one["path"].endswith("/tokens")] == []
    assert host.answer(host.pair()) == "ok"
    (host.records / BUCKET / "host_keys.json").unlink()
    assert "run the rotate playbook" in host.modules.fail("r2_host_token", **host.arguments, known_tokens=[BUCKET])
    assert host.names() == ["holdfast/backup-web1"]


@pytest.mark.long
def test_frozen_host_gets_no_keys(host: Host) -> None:
    host.run()
    (host.records / BUCKET / "frozen").write_text("Since yesterday.\n")
    for state in ("present", "staged", "promoted"):
        assert "was frozen after a break-in" in host.modules.fail("r2_host_token", **{**host.arguments, "state": state})
    assert host.run("absent")["changed"] and host.names() == []
    assert "was frozen" in host.modules.fail("r2_host_token", **host.arguments)


@pytest.mark.long
def test_rotation(host: Host) -> None:
    host.run()
    old = host.pair()
    staged = host.modules.four_steps("r2_host_token", **host.arguments, state="staged")
    new = host.pair("host_keys.next.json")
    assert new["access_key_id"] == staged["access_key_id"] and staged["keys_file"].endswith("host_keys.next.json")
    assert host.pair() == old
    assert [host.answer(keys) for keys in (old, new)] == ["ok", "ok"]
    host.modules.four_steps("r2_host_token", **host.arguments, state="promoted")
    assert host.pair()["access_key_id"] == new["access_key_id"]
    assert [host.answer(keys) for keys in (old, new)] == ["ok", "ok"]
    former = f"holdfast/backup-web1/former/{old['access_key_id'][:8]}"
    assert host.names() == ["holdfast/backup-web1", former]
    host.stand_in.settings(clock_offset=43300.0, max_skew=100000.0)
    assert [host.answer(keys) for keys in (old, new)] == ["Unauthorized", "ok"]
    host.run("staged")
    assert host.names() == ["holdfast/backup-web1", "holdfast/backup-web1/next"]
    host.run("promoted", former_seconds=0)
    assert host.names() == ["holdfast/backup-web1"]
    assert [host.answer(keys) for keys in (new, host.pair())] == ["Unauthorized", "ok"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ("staged", {"method": "POST", "path": "/tokens"}),
        ("promoted", {"method": "GET", "path": r"/tokens\?"}),
        ("promoted", {"method": "PUT", "path": "/tokens/"}),
        ("promoted", {"method": "PUT", "path": "/tokens/", "skip": 1}),
    ],
    ids=["made", "taken-over", "former-named", "next-named"],
)
def test_rotation_that_dies_can_be_repeated(host: Host, state: str, fault: dict[str, Any]) -> None:
    host.run()
    old = host.pair()
    if state == "promoted":
        host.run("staged")
    host.killed(state, **fault)
    assert host.answer(old) == "ok"
    if host.pair() != old:
        assert host.answer(host.pair()) == "ok"
    host.run("staged")
    host.run("promoted")
    assert host.pair()["access_key_id"] != old["access_key_id"]
    assert [host.answer(keys) for keys in (old, host.pair())] == ["ok", "ok"]
    # The last request of a rotation was carried out although nobody heard the answer: then this was another rotation.
    assert len(host.names()) == (3 if fault.get("skip") else 2) and host.run()["changed"] is False


@pytest.mark.long
def test_rotation_goes_no_further_while_a_token_of_the_host_is_disabled(host: Host) -> None:
    """Maintenance may be at work: a token that was prepared before it must not take over meanwhile."""
    host.run()
    host.run("staged")
    before = {name: host.pair(name) for name in ("host_keys.json", "host_keys.next.json")}
    for name in (BUCKET, f"{BUCKET}/next"):
        set_token_status(host.stand_in, name, "disabled")
        refused = host.modules.fail("r2_host_token", **host.arguments, state="promoted")
        assert "is disabled" in refused
        assert {name: host.pair(name) for name in before} == before
        set_token_status(host.stand_in, name, "active")
    assert "failed" not in host.run("promoted")


@pytest.mark.sample
@pytest.mark.parametrize("fault", [{"method": "GET", "path": r"/tokens\?"}, {"method": "PUT", "path": "/tokens/"}])
def test_rotation_that_stood_still_while_a_fence_went_up_does_not_open_it(
    host: Host, stand_in: StandIn, fault: dict[str, Any]
) -> None:
    """It has read its tokens, and writes them anew when they have been disabled since."""
    host.run()
    host.run("staged")
    pairs = [host.pair(name) for name in ("host_keys.json", "host_keys.next.json")]
    account_id = stand_in.account_id
    client = cloudflare_client(stand_in)
    # The first request that the fault hits is lost, and takes its time; what it carries is of before.
    stand_in.fault(delay=6.0, cut="before", **fault)
    since = stand_in.last_request()
    rotation = threading.Thread(target=host.run, args=("promoted",))
    rotation.start()
    stand_in.wait_for_request(
        arrived=True, since=since, method=fault["method"], path=fault["path"].replace(r"\?", "$"), timeout=60
    )
    for pair in pairs:
        token = client.accounts.tokens.get(pair["access_key_id"], account_id=account_id)
        client.accounts.tokens.update(
            token.id, account_id=account_id, name=token.name, policies=token.policies, status="disabled"
        )
    rotation.join(timeout=120)
    assert [host.answer(pair) for pair in pairs] == ["Unauthorized", "Unauthorized"]


@pytest.mark.long
def test_disabled_host_gets_no_new_keys(host: Host) -> None:
    host.run()
    set_token_status(host.stand_in, BUCKET, "disabled")
    assert host.run()["changed"] is False
    assert "is disabled" in host.modules.fail("r2_host_token", **host.arguments, state="staged")
    assert host.names() == ["holdfast/backup-web1"]
