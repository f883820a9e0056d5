# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Procedures of docs/ that are followed by hand: their commands are taken from the page and run as they stand there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.stand_in.client import StandIn
from tests.support.repositories import PASSWORD, Bed
from tests.support.running import ROOT, Ansible

HOST = "web1.example.com"


def commands(page: str, heading: str) -> list[str]:
    """The blocks of shell below a heading, up to the next one."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = re.split(r"^#+ .*$", text.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^ *```sh\n(.*?)^ *```", section, re.MULTILINE | re.DOTALL)


class Hand:
    """A person at the maintenance node, who fills in what the page leaves to him."""

    def __init__(self, bed: Bed, folder: Path) -> None:
        self.bed = bed
        self.folder = folder
        folder.mkdir()
        stand_in = bed.stand_in
        variables = {
            "holdfast_account_id": stand_in.account_id,
            "holdfast_s3_endpoint": stand_in.s3_endpoint,
            "holdfast_bucket": bed.bucket,
            "holdfast_password": PASSWORD,
            "holdfast_record_dir": str(bed.record_dir),
            "holdfast_restic_path": bed.restic_path,
        }
        inventory = {"holdfast": {"hosts": {HOST: variables}}}
        (folder / "inventory.yml").write_text(json.dumps(inventory), encoding="utf-8")
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        environment = bed.ansible.environment(
            {
                "CLOUDFLARE_API_TOKEN": stand_in.api_token,
                "CLOUDFLARE_ACCOUNT_ID": stand_in.account_id,
                "CLOUDFLARE_API_BASE_URL": stand_in.api_url,
                "AWS_ENDPOINT_URL_S3": stand_in.s3_endpoint,
                "HOME": str(folder),
                "RESTIC_CACHE_DIR": str(folder / "cache"),
            }
        )
        self.environment = {
            **environment,
            "PATH": f"{Path(bed.restic_path).parent}{os.pathsep}{environment['PATH']}",
            "RESTIC_PASSWORD": PASSWORD,
        }

    def does(self, block: str, fills: dict[str, str]) -> str:
        """Run a block; what it said. Placeholders are words of the page."""
        stand_in = self.bed.stand_in
        said = {
            "https://ACCOUNT_ID.r2.cloudflarestorage.com": stand_in.s3_endpoint,
            "AWS_ACCESS_KEY_ID=…": f"AWS_ACCESS_KEY_ID={stand_in.token_id}",
            "AWS_SECRET_ACCESS_KEY=…": f"AWS_SECRET_ACCESS_KEY={stand_in.secret_access_key}",
            "RESTIC_PASSWORD_FILE=…": f"RESTIC_PASSWORD_FILE={self.folder / 'password'}",
            "BUCKET": self.bed.bucket,
            "RECORD_DIR": str(self.bed.record_dir),
            **fills,
        }
        for word, meant in said.items():
            block = block.replace(word, meant)
        block = re.sub(r"[ \t]+# .*$", "", block, flags=re.MULTILINE)
        assert "…" not in block, block
        done = subprocess.run(
            ["bash", "-eu", "-c", block],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        return done.stdout + done.stderr


@pytest.fixture(name="bed")
def fixture_bed(
    request: pytest.FixtureRequest, stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path
) -> Iterator[Bed]:
    """A locked and verified repository with two backups of two paths; a parameter is what restic is told besides."""
    bed = Bed(stand_in, ansible, restic_path, tmp_path)
    bed.initialise()
    assert "failed" not in bed.repository()
    bed.lock()
    for name in ("srv", "old"):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"file{number}").write_bytes(os.urandom(200_000))
            bed.backup(tmp_path / name, *(option.format(name) for option in getattr(request, "param", [])), host=HOST)
    assert bed.module("restic_audit", record_dir=str(bed.record_dir), baseline="update")["changed"]
    stand_in.clear_log()
    yield bed
    # The keeper of a window by hand waits for its lease, also when the guard has closed the window before.
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(tmp_path).encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


def pack_of(bed: Bed, path: Path) -> str:
    """The key of the pack in which the content of a file is; each file is one blob, in a pack of its own backup."""
    blob = hashlib.sha256(path.read_bytes()).hexdigest()
    for name in bed.restic.index_ids():
        said = json.loads(bed.restic.succeed(["cat", "index", name, "--no-lock"]).stdout)
        for pack in said["packs"]:
            if blob in [one["id"] for one in pack["blobs"]]:
                return f"data/{pack['id'][:2]}/{pack['id']}"
    raise AssertionError(f"{path} is in no pack")


def restored(bed: Bed, name: str, folder: Path) -> dict[str, bytes]:
    bed.restic.succeed(["restore", name, "--target", str(folder), "--no-lock"])
    return {path.name: path.read_bytes() for path in folder.rglob("file*")}


@pytest.mark.proof
def test_a_pack_that_is_gone_and_one_that_is_damaged_are_repaired(bed: Bed, tmp_path: Path) -> None:
    look, repair, end = commands("recovery.md", "## A pack that is missing or damaged")
    hand = Hand(bed, tmp_path / "hand")
    first, second = tmp_path / "srv" / "file0", tmp_path / "old" / "file0"
    kept = {path.name: path.read_bytes() for path in (tmp_path / "srv").iterdir()}
    packs = [pack_of(bed, path) for path in (first, second)]
    second.unlink()  # the host does not have it any more
    bed.unlock()
    damaged = bed.s3.get(packs[0])
    bed.s3.delete(packs[0])
    bed.s3.client.put_object(Bucket=bed.bucket, Key=packs[0], Body=damaged[:1000] + bytes(100) + damaged[1100:])
    bed.s3.delete(packs[1])
    bed.lock()
    before = len(bed.restic.snapshots())

    fills = {"RESTIC_KEY_HINT=…": f"RESTIC_KEY_HINT={bed.repository()['key_id']}"}
    exports = "".join(line for line in look.splitlines(keepends=True) if line.startswith("export "))
    said = hand.does(look, fills)
    names = [pack.rpartition("/")[2] for pack in packs]
    assert all(name[:8] in said for name in names), said
    hand.does(exports + repair.replace("ID ", f"{names[0]} "), fills)
    again = bed.restic.run(["backup", f"--host={HOST}", str(tmp_path / "srv")])
    assert again.exit_code == 3 and "storing the file again" in again.stderr, again
    said = hand.does(exports + end, fills)
    assert "no errors were found" in said, said
    assert all(rule["enabled"] for rule in bed.stand_in.rules(bed.bucket)) and len(bed.stand_in.rules(bed.bucket)) == 5

    # What the host still had is whole in every snapshot, and of what was lost the rest is there.
    newest = {path: snapshot["id"] for snapshot in bed.restic.snapshots() for path in snapshot["paths"]}
    assert len(bed.restic.snapshots()) == before + 1
    assert restored(bed, newest[str(tmp_path / "srv")], tmp_path / "there") == kept
    rest = {"file0": b"", "file1": (tmp_path / "old" / "file1").read_bytes()}
    assert restored(bed, newest[str(tmp_path / "old")], tmp_path / "rest") == rest
    options = {"record_dir": str(bed.record_dir), "lock_wait": 0, "retention_time": "snapshot", "keep_last": 1}
    maintained = bed.module("restic_prune", **options)
    assert "failed" not in maintained and len(maintained["kept"]) == 2, maintained


@pytest.mark.proof
@pytest.mark.parametrize("bed", [["--tag=job:{}"]], indirect=True)
def test_the_snapshots_of_an_ended_job_go(bed: Bed, tmp_path: Path) -> None:
    (block,) = commands("operations.md", "## Removing a job or a host")[:1]
    hand = Hand(bed, tmp_path / "hand")
    exports = commands("recovery.md", "## Get the data back")[0].partition("restic snapshots")[0]
    fills = {
        "RESTIC_KEY_HINT=…": f"RESTIC_KEY_HINT={bed.repository()['key_id']}",
        "job:NAME": "job:old",
    }
    there = bed.restic.snapshots()
    block = exports + block
    hand.does(block, fills)
    assert len(bed.restic.snapshots()) == len(there) and bed.stand_in.ledger()["exposures"] == []
    hand.does(block.replace(" --check", ""), fills)
    left = bed.restic.snapshots()
    assert [snapshot["paths"] for snapshot in left] == [[str(tmp_path / "srv")]] * 2
    options = {"record_dir": str(bed.record_dir), "lock_wait": 0, "keep_last": 1, "max_remove": "100%"}
    refused = bed.module("restic_prune", **options)
    assert "baseline=rebuild" in refused["msg"], refused
    (baseline,) = commands("operations.md", "## The baseline")
    hand.does(
        baseline.replace("backup-web1-example-com", "BUCKET").replace("/etc/holdfast-node/records", "RECORD_DIR"), {}
    )
    maintained = bed.module("restic_prune", **options)
    assert "failed" not in maintained and maintained["bytes_removed"] > 400_000, maintained
