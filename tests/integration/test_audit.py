# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic_audit with the real restic: what a host may have added is named, and nothing is read twice."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.newest import remembered
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Restic

from tests.integration.examples import run_examples
from tests.support.maintenance import PREFIX, LockedRepository
from tests.support.repositories import PASSWORD
from tests.support.repository_format import Key, header_size, name_of
from tests.support.running import Ansible


def codes(result: dict[str, Any], severity: str = "block") -> set[str]:
    return {finding["code"] for finding in result["findings"] if finding["severity"] == severity}


def objects(result: dict[str, Any], code: str) -> list[str]:
    return next(finding["objects"] for finding in result["findings"] if finding["code"] == code)


def master(restic: Restic) -> Key:
    return Key.from_json(json.loads(restic.succeed(["cat", "masterkey", "--no-lock"]).stdout))


def plant(site: LockedRepository, document: Any) -> str:
    """Add an index object as somebody who has the password can."""
    content = master(site.bed.restic).seal_json(document)
    site.add(f"index/{name_of(content)}", content)
    return f"{PREFIX}index/{name_of(content)}"


def genuine_index(site: LockedRepository) -> list[dict[str, Any]]:
    """What the indexes say of the packs."""
    restic = site.bed.restic
    texts = [restic.succeed(["cat", "index", name, "--no-lock"]).stdout for name in restic.index_ids()]
    return [pack for text in texts for pack in json.loads(text)["packs"]]


def baseline_of(site: LockedRepository) -> Any:
    return site.bed.record_dir / site.bed.bucket / PREFIX / "baseline"


@pytest.mark.sample(of="stories")
def test_only_what_is_new_is_read_and_remembered(site: LockedRepository) -> None:
    before = baseline_of(site).read_bytes()
    same = site.audit(baseline="update")
    assert (same["changed"], same["findings"], same["read"]["packs"], same["read"]["bytes"]) == (False, [], 0, 0)
    site.back_up()
    new = site.packs()
    foreseen = site.audit(baseline="update", check_mode=True)
    assert foreseen["changed"] and baseline_of(site).read_bytes() == before
    assert len(remembered(str(baseline_of(site).parent))["snapshots"]) == 4
    compared = site.audit()
    assert not compared["changed"] and compared["read"]["packs"] == foreseen["read"]["packs"] > 0
    done = site.audit(baseline="update")
    assert done["changed"] and done["diff"] == foreseen["diff"] and done["baseline"]["packs"] == len(new)
    named = remembered(str(baseline_of(site).parent))["snapshots"]
    assert len(named) == 5 and all(one["bytes"] for one in named)
    assert done["baseline"]["snapshots"] == 5 and baseline_of(site).stat().st_mode & 0o777 == 0o600
    assert site.audit()["read"]["packs"] == 0
    # What prune has rewritten is new, and then known.
    assert "failed" not in site.prune(keep_last=2)
    assert remembered(str(baseline_of(site).parent))["snapshots"] == named[:2]
    after = site.audit(baseline="update")
    assert "failed" not in after and after["findings"] == []
    assert after["baseline"]["snapshots"] == 2 and after["baseline"]["packs"] == len(site.packs())


@pytest.mark.long
def test_an_index_that_lies(site: LockedRepository) -> None:
    """Twins of the same size; a genuine pack with other blobs; a pack that is not there; what restic does not write."""
    packs = genuine_index(site)
    twin = os.urandom(sum(blob["length"] for blob in packs[0]["blobs"]) + header_size(packs[0]["blobs"]))
    name = hashlib.sha256(twin).hexdigest()
    site.add(f"data/{name[:2]}/{name}", twin)
    plant(site, {"packs": [{"id": name, "blobs": packs[0]["blobs"]}]})
    liar = plant(site, {"packs": [{"id": packs[1]["id"], "blobs": packs[0]["blobs"]}]})
    absent = plant(site, {"packs": [{"id": "5" * 64, "blobs": [{**packs[0]["blobs"][0], "id": "6" * 64}]}]})
    assert absent
    strange = plant(site, {"packs": [], "Packs": packs})
    found = site.audit(baseline="update")
    assert found["failed"] and found["blocked"] and not found["changed"]
    wanted = {"bogus_pack", "index_claims_known_blobs", "index_contradicts", "pack_missing", "index_unreadable"}
    assert codes(found) == wanted
    assert objects(found, "bogus_pack") == [f"{PREFIX}data/{name[:2]}/{name}"]
    assert objects(found, "index_contradicts") == [liar]
    assert objects(found, "index_unreadable") == [strange]


@pytest.mark.long
def test_garbage_and_names_that_deceive(site: LockedRepository) -> None:
    zero, name = "0" * 64, site.packs()[0].rpartition("/")[2]
    site.add(f"index/{zero}", b"")
    site.add("index/" + "1" * 64 + "/x", b"x")
    site.add(f"snapshots/{zero}", b"garbage")
    site.add(f"keys/{zero}", b"{}")
    site.add(f"data/{name[:2].upper()}/{name.upper()}x", b"x")
    site.add("junk/file", b"x")
    site.add(f"data/00/{zero}", b"x" * 1000)
    found = site.audit()
    assert codes(found) == {"index_unreadable", "misplaced_object", "snapshots_unreadable", "foreign_key"}
    assert codes(found, "warn") == {"unexpected_object"}
    assert objects(found, "snapshots_unreadable") == [f"{PREFIX}snapshots/{zero}"]
    assert f"{PREFIX}index/{zero}" in found["msg"] or f"index/{zero}" in found["msg"]
    assert "Traceback" not in json.dumps(found)


@pytest.mark.long
def test_an_attempt_to_replace_something_leaves_a_trace(site: LockedRepository) -> None:
    key = site.packs()[0]
    site.bed.s3.client.create_multipart_upload(Bucket=site.bed.bucket, Key=key)
    site.bed.s3.client.create_multipart_upload(Bucket=site.bed.bucket, Key="elsewhere/x")
    site.add("locks/evil", b"")
    found = site.audit()
    assert codes(found) == set() and codes(found, "warn") == {"unfinished_uploads", "unexpected_object"}
    assert objects(found, "unfinished_uploads") == [key]
    assert objects(found, "unexpected_object") == [f"{PREFIX}locks/evil"]


@pytest.mark.long
def test_forged_snapshots(site: LockedRepository) -> None:
    seal = master(site.bed.restic).seal_json
    snapshot = {"time": "2031-01-01T12:00:00Z", "tree": "7" * 64, "paths": ["/evil"], "hostname": "evil"}
    old = {**snapshot, "time": "2020-01-01T12:00:00Z"}
    names = []
    for document in (snapshot, old):
        content = seal(document)
        names.append(name_of(content))
        site.add(f"snapshots/{names[-1]}", content)
    found = site.audit(max_age=1)
    assert codes(found) == {"claimed_time", "missing_tree"}
    assert (
        objects(found, "claimed_time")
        == objects(found, "missing_tree")
        == sorted(f"{PREFIX}snapshots/{name}" for name in names)
    )
    assert codes(found, "warn") == {"unexpected_host", "unexpected_paths"}
    assert "stale" in codes(site.audit(max_age=0), "warn")


@pytest.mark.sample(of="stories")
def test_what_shrank(site: LockedRepository) -> None:
    site.bed.unlock()
    pack = site.packs()[0]
    site.bed.s3.delete(f"{PREFIX}snapshots/{site.ids[0]}")
    content = site.bed.s3.get(pack)
    site.bed.s3.delete(pack)
    site.bed.lock()
    site.bed.stand_in.clear_log()
    assert codes(site.audit()) == {"snapshots_gone", "packs_gone"}
    site.add(pack.removeprefix(PREFIX), content)
    site.bed.stand_in.set_upload_time(site.bed.bucket, pack, "2026-01-01T00:00:00Z")
    assert codes(site.audit()) == {"snapshots_gone", "pack_replaced"}
    # A person who has looked may begin anew.
    rebuilt = site.audit(baseline="rebuild")
    assert rebuilt["changed"] and "failed" not in rebuilt
    assert site.audit()["findings"] == []


@pytest.mark.long
def test_a_baseline_that_is_lost_or_damaged(site: LockedRepository) -> None:
    path = baseline_of(site)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert codes(site.audit(baseline="update")) == {"baseline_damaged"}
    path.unlink()
    assert codes(site.audit(baseline="update", first_read_limit=0)) == {"baseline_missing"}
    made = site.audit(baseline="update")
    assert made["changed"] and made["findings"] == [] and made["read"]["packs"] == len(site.packs())
    assert site.audit(baseline="update")["changed"] is False


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"longest_backup": -1}, "longest_backup is -1.0"),
        ({"scratch_dir": "/nonexistent", "first_read_limit": 1}, "No temporary folder can be made in /nonexistent"),
    ],
)
def test_options_that_make_no_sense(site: LockedRepository, options: dict[str, Any], sentence: str) -> None:
    if "scratch_dir" in options:
        site.back_up()
    assert sentence in site.audit(**options)["msg"]


def test_what_is_not_recorded_cannot_be_remembered(ansible: Ansible) -> None:
    result = ansible.module("restic_audit", bucket="backup-web1", password="x", baseline="update")
    assert "missing: record_dir" in result["msg"]


@pytest.mark.long
def test_a_baseline_that_has_no_place_is_refused(site: LockedRepository) -> None:
    for mode in ("update", "rebuild"):
        refused = site.audit(baseline=mode, record_dir=None)
        assert refused["failed"] and f"baseline is {mode}, but record_dir is empty" in refused["msg"], refused


@pytest.mark.sample(of="examples")
def test_examples(site: LockedRepository) -> None:
    options = {
        "bucket": site.bed.bucket,
        "prefix": PREFIX,
        "restic_path": site.bed.restic_path,
        "cache_dir": str(site.bed.home / "cache"),
        "record_dir": str(site.bed.record_dir),
    }
    baseline_of(site).unlink()
    variables = {"holdfast_password": PASSWORD}
    run = run_examples(site.bed.ansible, site.bed.stand_in, "restic_audit", options=options, variables=variables)
    assert run.exit_code == 0, run.output
    assert [result.changed for result in run.results] == [True, False]
