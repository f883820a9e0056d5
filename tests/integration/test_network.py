# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A proxy and a private authority on the way to Cloudflare: API, S3 and restic go the same way, on the node and in jobs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import CloudflareLocks
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3

from tests.stand_in.client import StandIn
from tests.support.repositories import PASSWORD, Bed, sample
from tests.support.running import Ansible
from tests.support.ways import authority, way


@pytest.fixture
def bed(shared_stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path) -> Bed:
    bed = Bed(shared_stand_in, ansible, restic_path, tmp_path)
    bed.initialise()
    bed.repository()
    bed.backup(sample(tmp_path / "files"))
    return bed


@pytest.mark.long
def test_everything_goes_through_the_proxy_but_views(bed: Bed, tmp_path: Path) -> None:
    """The hosts are known to the proxy alone. restic reads a view at a socket of this machine's, not through the proxy."""
    trusted, certificate = authority(tmp_path)
    with way(bed.stand_in.api_url, certificate) as door, way(f"http://127.0.0.1:{door.port}") as proxy:
        through = {
            "api_url": "https://api.invalid/client/v4",
            "s3_endpoint": "https://s3.invalid",
            "proxy": f"http://me:a%20secret@127.0.0.1:{proxy.port}",
            "no_proxy": ["example.com"],
            "ca_file": str(trusted),
        }
        listed = bed.module("restic_snapshot_info", upload_times=True, **through)
        assert not listed.get("failed"), listed
        assert len(listed["snapshots"]) == 1 and "a%20secret" not in str(listed)
        assert door.agents() >= {"holdfast.restic_r2", "Boto3", "MinIO"}
        proof = "Basic " + base64.b64encode(b"me:a secret").decode()
        assert {(host, known) for host, _agent, known in proxy.passed} == {
            ("api.invalid:443", proof),
            ("s3.invalid:443", proof),
        }

        bed.lock()
        retention = {"keep_last": 1, "record_dir": str(bed.record_dir)}
        pruned = bed.module("restic_prune", **through, **retention)
        assert not pruned.get("failed"), pruned


@pytest.mark.long
def test_a_private_authority_counts_where_it_is_named(bed: Bed, tmp_path: Path) -> None:
    trusted, certificate = authority(tmp_path)
    with way(bed.stand_in.api_url, certificate) as door:
        url = f"https://localhost:{door.port}"
        api: dict[str, Any] = {"api_url": f"{url}/client/v4", "s3_endpoint": url}
        keys = {"access_key_id": bed.stand_in.token_id}
        listed = bed.module("restic_snapshot_info", upload_times=True, ca_file=str(trusted), **api)
        assert not listed.get("failed"), listed
        assert len(listed["snapshots"]) == 1, listed
        assert door.agents() >= {"holdfast.restic_r2", "Boto3", "MinIO"}
        count = len(door.passed)

        refused = bed.module("restic_snapshot_info", **api, **keys)
        assert refused["failed"] is True and "certificate" in refused["msg"], refused
        missing = bed.module("restic_snapshot_info", ca_file=str(tmp_path / "none.pem"), **api)
        assert "cannot be read" in missing["msg"] and "holdfast_ca_file" in missing["msg"]
        assert len(door.passed) == count


@pytest.mark.long
def test_a_job_goes_the_way_of_its_settings(bed: Bed, tmp_path: Path) -> None:
    from tests.integration.test_job_program import prepared

    trusted, certificate = authority(tmp_path)
    with way(bed.stand_in.api_url, certificate) as door, way(bed.stand_in.api_url) as proxy:
        jobs = prepared(tmp_path / "host", bed.restic_path)
        keys = f"[default]\naws_access_key_id={bed.stand_in.token_id}\naws_secret_access_key={bed.stand_in.secret_access_key}\n"
        (jobs.home / "etc" / "s3").write_text(keys)
        (jobs.home / "etc" / "password").write_text(PASSWORD)
        for way_there, more in (
            (door, {"repository": f"s3:https://localhost:{door.port}/{bed.bucket}", "ca_file": str(trusted)}),
            (proxy, {"repository": f"s3:http://s3.invalid/{bed.bucket}", "proxy": f"http://127.0.0.1:{proxy.port}"}),
        ):
            (jobs.home / "etc" / "heartbeat").write_text(f"{more['repository'][3:].rpartition('/')[0]}/heart/JOB\n")
            jobs.write({"name": "data", "paths": [str(jobs.home / "data")]}, **{"proxy": "", "ca_file": "", **more})
            done = jobs.run("--backup", "data")
            assert done.returncode == 0, done.stderr
            assert way_there.agents() == {"MinIO", "Python-urllib"}


@pytest.mark.parametrize(("days", "said"), [(9, "is not yet valid"), (-9, "has expired")])
def test_a_clock_that_does_not_fit_the_certificate_is_told(
    shared_stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, said: str
) -> None:
    trusted, certificate = authority(tmp_path, later=timedelta(days=days))
    for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "RESTIC_CACERT"):
        monkeypatch.setenv(name, str(trusted))
    with way(shared_stand_in.api_url, certificate) as door:
        url = f"https://localhost:{door.port}"
        calls: list[Callable[[], Any]] = [
            lambda: CloudflareLocks("token", "0" * 32, url=url, retry_timeout=0).lock_rules("bucket"),
            lambda: S3(url, "id", "secret", bucket="bucket", attempts=1).list(),
        ]
        for call in calls:
            with pytest.raises(
                HoldfastError, match=rf"certificate .*{said}.*\(the clock of this machine says 2"
            ) as told:
                call()
            assert "set it, for example with timedatectl" in str(told.value)
        assert door.passed == []
