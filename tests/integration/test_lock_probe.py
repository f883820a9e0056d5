# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the locks are in force is asked with the host's own keys, in two ways, and nothing changes by it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.examples import documentation, run_examples
from tests.stand_in.client import StandIn
from tests.support.repositories import Bed
from tests.support.running import Ansible

PREFIXES = ["config", "data/", "index/", "keys/", "snapshots/"]


class Probed:
    """A locked repository, with a token for its host."""

    def __init__(self, bed: Bed, folder: Path) -> None:
        self.bed = bed
        bed.initialise()
        assert "failed" not in bed.repository()
        bed.lock()
        (folder / "file").write_bytes(b"content")
        bed.backup(folder)
        self.token = bed.stand_in.create_token("web1", bucket=bed.bucket)
        self.given = {f"host_{name}": self.token[name] for name in ("access_key_id", "secret_access_key")}
        self.since = bed.stand_in.last_request()

    @property
    def account(self) -> dict[str, Any]:
        return {name: value for name, value in self.bed.account.items() if name != "s3_endpoint"}

    def manage(self) -> str:
        """Have a token that is managed; its access key id."""
        arguments = {name: value for name, value in self.account.items() if name != "bucket"}
        made = self.bed.ansible.module(
            "r2_host_token", **arguments, name="web1", bucket=self.bed.bucket, record_dir=str(self.bed.record_dir)
        )
        assert "failed" not in made, made
        self.since = self.bed.stand_in.last_request()
        return str(made["access_key_id"])

    def probe(self, **arguments: Any) -> dict[str, Any]:
        """Run the module, which must change nothing, and tell no secret."""
        bed = self.bed
        before, broken = bed.s3.list(), len(bed.stand_in.ledger()["destructive"])
        self.since = bed.stand_in.last_request()
        result = bed.ansible.module("r2_lock_probe", **{**bed.account, **arguments})
        assert bed.s3.list() == before and len(bed.stand_in.ledger()["destructive"]) == broken
        assert self.token["secret_access_key"] not in str(result) and bed.stand_in.api_token not in str(result)
        return result

    def asked_by(self, kind: str = "PutObject") -> Counter[str]:
        """How often something was asked for, by the id of the key."""
        found = self.bed.stand_in.requests(self.since)
        return Counter(entry["key_id"] for entry in found if entry["kind"] == kind)


@pytest.fixture
def probed(stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path) -> Probed:
    (tmp_path / "files").mkdir()
    return Probed(Bed(stand_in, ansible, restic_path, tmp_path), tmp_path / "files")


@pytest.mark.long
def test_it_is_asked_with_the_hosts_own_keys(probed: Probed) -> None:
    given = probed.probe(**probed.given)
    assert (given["locked"], given["probed_with"]) == (True, "host")
    assert given["prefixes"] == dict.fromkeys(PREFIXES, "locked") and "msg" not in given
    assert probed.asked_by() == {probed.token["id"]: 5}

    managed = probed.manage()
    found = probed.probe(record_dir=str(probed.bed.record_dir))
    assert (found["locked"], found["probed_with"]) == (True, "host") and probed.asked_by() == {managed: 5}
    # Not a single call of the API: the node's keys were not needed.
    assert [one for one in probed.bed.stand_in.requests(probed.since) if one["kind"] == "rest"] == []

    unknown = probed.probe()
    assert (unknown["locked"], unknown["probed_with"]) == (True, "node")
    assert probed.asked_by() == {probed.bed.stand_in.token_id: 5}


@pytest.mark.long
def test_keys_that_are_not_taken_are_no_answer(probed: Probed) -> None:
    probed.given["host_access_key_id"] = "0" * 32
    found = probed.probe(**probed.given)
    assert (found["locked"], found["probed_with"]) == (True, "node")
    probed.bed.unlock()
    opened = probed.probe(**probed.given)
    assert (opened["locked"], opened["probed_with"]) == (False, "node")
    assert f"The locks of {probed.bed.bucket}/ are not in force" in opened["msg"] and "data/ open" in opened["msg"]
    assert "access_key_id" in probed.probe(host_secret_access_key="secret")["msg"]


@pytest.mark.long
def test_it_waits_for_a_lock_that_takes_effect_late(probed: Probed) -> None:
    probed.bed.stand_in.settings(lock_delay=10.0**6, unlock_delay=0.0)
    probed.bed.unlock()
    probed.bed.lock()
    assert probed.probe(**probed.given)["locked"] is False
    stand_in, since = probed.bed.stand_in, probed.bed.stand_in.last_request()
    stand_in.settings(max_skew=10.0**9)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(probed.probe, **probed.given, wait=600)
        # Seen open once; from now on the lock is in force.
        stand_in.wait_for_request(since=since, timeout=200, method="PUT", status=412)
        stand_in.settings(clock_offset=2 * 10.0**6)
        assert waiting.result()["locked"] is True
    probed.bed.unlock()
    never = probed.probe(**probed.given, wait=1)
    assert never["locked"] is False


@pytest.mark.long
def test_it_waits_for_keys_that_are_new(probed: Probed) -> None:
    probed.bed.stand_in.settings(token_delay=4.0)
    managed = probed.manage()
    found = probed.probe(record_dir=str(probed.bed.record_dir), wait=60)
    assert (found["locked"], found["probed_with"]) == (True, "host")
    assert probed.asked_by()[managed] == 5


@pytest.mark.long
@pytest.mark.parametrize("missing", [404, 412])
def test_the_second_way_changes_nothing_either(probed: Probed, missing: int) -> None:
    probed.bed.stand_in.settings(missing_key_if_match=missing)
    key = probed.bed.s3.first_key("data/")
    assert probed.bed.s3.probe(key, method="conditional_copy") == "locked"
    probed.bed.unlock()
    assert probed.bed.s3.probe(key, method="conditional_copy") == "open"
    assert probed.bed.s3.probe("data/none", method="conditional_copy") == "missing"


@pytest.mark.long
def test_the_second_way_is_tried_when_the_first_is_not_known(probed: Probed) -> None:
    path = f"/{probed.bed.bucket}/config"
    probed.bed.stand_in.fault(method="PUT", path=path, status=501, code="NotImplemented")
    assert probed.probe(**probed.given)["locked"] is True
    assert probed.asked_by("CopyObject") == {probed.token["id"]: 1}
    probed.bed.stand_in.fault(method="PUT", path=path, status=501, code="NotImplemented", times=2)
    assert "NotImplemented" in probed.probe(**probed.given)["msg"]


@pytest.mark.long
@pytest.mark.parametrize("method", ["conditional_put", "conditional_copy"])
def test_a_service_that_looks_at_conditions_first_is_never_taken_for_locked(probed: Probed, method: str) -> None:
    probed.bed.stand_in.settings(conditions_first=True)
    assert probed.bed.s3.probe(probed.bed.s3.first_key("data/"), method=method) == "open"
    assert probed.probe(**probed.given)["locked"] is False


@pytest.mark.long
def test_verify_needs_no_token_that_may_write(probed: Probed) -> None:
    reading = probed.bed.stand_in.create_token("reading", write=False)
    options = {"record_dir": str(probed.bed.record_dir), "api_token": reading["value"], "access_key_id": reading["id"]}
    refused = probed.bed.module("restic_verify", **options)
    assert refused["probed_with"] is None and refused["prefixes"] == {} and len(refused["findings"]) == 1
    probed.manage()
    found = probed.bed.module("restic_verify", **options)
    assert (found["findings"], found["probed_with"]) == ([], "host"), found
    assert found["prefixes"] == dict.fromkeys(PREFIXES, "locked")


@pytest.mark.sample(of="examples")
def test_examples(ansible: Ansible, probed: Probed, stand_in: StandIn) -> None:
    options = {"bucket": probed.bed.bucket, "record_dir": str(probed.bed.record_dir)}
    run = run_examples(ansible, stand_in, "r2_lock_probe", options=options)
    assert run.exit_code == 0 and run.changed == [], run.output


@pytest.mark.long
def test_everything_returned_is_documented(probed: Probed) -> None:
    probed.bed.unlock()
    result = probed.probe()
    assert set(result) - {"changed", "invocation"} == set(documentation("r2_lock_probe", "RETURN"))
