# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The execution environment: the build context that ansible-builder makes, installed into a root and used from there.

No container engine is needed: pip, ansible-galaxy and the step for restic are carried out with the folders of the root in
place of the image's. The packages of the distribution are the one thing that is only looked at.
"""

from __future__ import annotations

import bz2
import functools
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.awx.job import DIST, PROJECT, Job
from tests.stand_in.client import StandIn
from tests.support import restic
from tests.support.fleet import Fleet
from tests.support.running import ROOT, Ansible

BUILDER = Path(sys.executable).with_name("ansible-builder")
COLLECTION = "share/ansible/collections/ansible_collections/holdfast/restic_r2"


def run(command: list[str], **settings: object) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    settings.setdefault("env", environment)
    done = subprocess.run(command, capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(name="context", scope="module")
def fixture_context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build context."""
    folder = tmp_path_factory.mktemp("context")
    definition = str(PROJECT / "execution-environment.yml")
    run([str(BUILDER), "create", "-f", definition, "-c", str(folder), "--output-filename", "Containerfile"])
    return folder


def steps(context: Path) -> str:
    return (context / "Containerfile").read_text(encoding="utf-8")


def pinned(context: Path) -> list[str]:
    """What pip installs."""
    found = re.search(r'^ARG ANSIBLE_INSTALL_REFS="(.*)"$', steps(context), re.MULTILINE)
    assert found
    return [*found[1].split(), *(context / "_build" / "requirements.txt").read_text(encoding="utf-8").split()]


def test_the_image_has_what_is_needed_and_nothing_else(context: Path) -> None:
    wanted = pinned(context)
    assert [line.partition("==")[0] for line in wanted] == ["ansible-core", "ansible-runner", "boto3", "botocore"]
    assert all(re.fullmatch(r"[a-z-0-9]+==[0-9.]+", line) for line in wanted)
    assert (context / "_build" / "bindep.txt").read_text(encoding="utf-8").split("\n") == [
        "openssh-client [platform:dpkg]"
    ]
    required = yaml.safe_load((context / "_build" / "requirements.yml").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in required["collections"]] == ["holdfast.restic_r2"]
    assert "restic_r2/roles/restic/files/fetch_release.py" in restic_step(context).replace(
        "$HOLDFAST_RESTIC_ROLE", COLLECTION + "/roles/restic"
    )


def restic_step(context: Path) -> str:
    """The command that installs restic."""
    found = [line.removeprefix("RUN ") for line in steps(context).splitlines() if "fetch_release.py" in line]
    assert len(found) == 1
    return found[0]


def test_introspection_finds_what_the_collection_asks_for(tmp_path: Path) -> None:
    """Somebody else's execution environment that contains this collection gets this."""
    archive = next(DIST.glob("*.tar.gz"))
    target = tmp_path / "ansible_collections" / "holdfast" / "restic_r2"
    target.mkdir(parents=True)
    shutil.unpack_archive(archive, target, filter="data")
    pip, bindep = tmp_path / "pip.txt", tmp_path / "bindep.txt"
    run([str(BUILDER), "introspect", str(tmp_path), "--write-pip", str(pip), "--write-bindep", str(bindep)])
    assert {line.split(">")[0] for line in pip.read_text().splitlines()} == {"boto3", "botocore"}
    packages = {line.split()[0] for line in bindep.read_text().splitlines() if line and line[0] != "#"}
    assert packages == {"gpgv", "gnupg2"}, "restic would fail the build of every image whose distribution has none"


@pytest.fixture(name="mirror", scope="module")
def fixture_mirror(tmp_path_factory: pytest.TempPathFactory, restic_path: str) -> Iterator[dict[str, str]]:
    """A signed release of the restic at hand, served here; what stands for upstream's address, key and fingerprint."""
    folder = tmp_path_factory.mktemp("mirror")
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--pinentry-mode", "loopback"]
    run([*gpg, "--quick-generate-key", "signer", "ed25519", "sign"])
    version = ".".join(map(str, restic.version(restic_path)))
    machine = run(["dpkg", "--print-architecture"]).strip()
    release = folder / "www" / f"v{version}"
    release.mkdir(parents=True)
    packed = bz2.compress(Path(restic_path).read_bytes(), 1)
    name = f"restic_{version}_linux_{machine}.bz2"
    (release / name).write_bytes(packed)
    sums = release / "SHA256SUMS"
    sums.write_text(f"{hashlib.sha256(packed).hexdigest()}  {name}\n", encoding="utf-8")
    run([*gpg, "--armor", "--detach-sign", str(sums)])
    (folder / "key.asc").write_text(run([*gpg, "--armor", "--export", "signer"]), encoding="utf-8")
    listed = run([*gpg, "--with-colons", "--fingerprint", "signer"])
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            "url": f"http://127.0.0.1:{server.server_port}",
            "version": version,
            "key": str(folder / "key.asc"),
            "fingerprint": re.findall(r"^fpr:.*:([0-9A-F]{40}):", listed, re.MULTILINE)[0],
        }
        server.shutdown()
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def local_step(context: Path, root: Path, mirror: dict[str, str]) -> str:
    """The step for restic with the folders of the root, and the mirror with its key for upstream."""
    step = restic_step(context).replace("https://github.com/restic/restic/releases/download", mirror["url"])
    step = re.sub(r"--key=\S+", f"--key={mirror['key']} --fingerprint={mirror['fingerprint']}", step)
    return step.replace("/usr/local", str(root / "local"))


def carry_out(step: str, root: Path, mirror: dict[str, str], checksum: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{root}/local/bin:/usr/bin:/bin", "RESTIC_VERSION": mirror["version"], "RESTIC_SHA256": checksum,
        "HOLDFAST_RESTIC_ROLE": str(root / COLLECTION / "roles" / "restic"),
    }  # fmt: skip
    return subprocess.run(["sh", "-c", step], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(name="root", scope="module")
def fixture_root(tmp_path_factory: pytest.TempPathFactory, context: Path, mirror: dict[str, str]) -> Path:
    """A root with what the context installs: Python packages, the collection, restic."""
    root = tmp_path_factory.mktemp("root")
    (root / "local" / "bin").mkdir(parents=True)
    newer = [run_python(version) for version in ("3.13", "3.12")]
    python = next((found for found in newer if found), sys.executable)
    run([python, "-m", "venv", str(root / "python")])
    wanted = pinned(context)
    if python == sys.executable and sys.version_info < (3, 12):
        wanted[0] = "ansible-core<2.20"  # the newest that this machine can run
    run([str(root / "python" / "bin" / "pip"), "install", "-qq", "--disable-pip-version-check", *wanted])
    galaxy = [str(root / "python" / "bin" / "ansible-galaxy"), "collection", "install", "--offline"]
    collections = root / "share" / "ansible" / "collections"
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_HOME": str(root / "home")}
    run([*galaxy, "-p", str(collections), str(next(DIST.glob("*.tar.gz")))], env=environment)
    done = carry_out(local_step(context, root, mirror), root, mirror)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"restic {mirror['version']}")
    return root


def run_python(version: str) -> str:
    done = subprocess.run([ROOT / "tools" / "python.sh", version], capture_output=True, text=True, check=False)
    return done.stdout.strip()


@pytest.mark.proof
def test_the_build_fails_where_restic_is_not_the_pinned_or_signed_one(
    context: Path, root: Path, mirror: dict[str, str], tmp_path: Path
) -> None:
    elsewhere = local_step(context, root, mirror).replace(str(root / "local"), str(tmp_path / "local"))
    for step, checksum, why in (
        (elsewhere, "0" * 64, "expected"),
        (elsewhere.replace(mirror["fingerprint"], "F" * 40), "", "signature"),
    ):
        done = carry_out(step, root, mirror, checksum)
        assert done.returncode != 0
        assert why in done.stderr
        installed = [path for path in (tmp_path / "local").rglob("*") if path.is_file() and path.stat().st_mode & 0o111]
        assert installed == []


@pytest.mark.proof
def test_the_playbooks_run_from_it(root: Path, tmp_path: Path, shared_stand_in: StandIn) -> None:
    """Nothing but the root's programs and the system's: neither the checkout, nor the environment of the tests."""
    shutil.copytree(PROJECT, tmp_path / "project")
    program = str(root / "local" / "bin" / "restic")
    fleet = Fleet(tmp_path / "fleet", shared_stand_in, program, ("image1",))
    del fleet.common["holdfast_restic_path"]
    path = f"{root}/python/bin:{root}/local/bin:/usr/bin:/bin"
    job = Job(tmp_path, fleet, root / "share" / "ansible" / "collections")
    job.ansible = Ansible(
        tmp_path / "image",
        {
            **job.ansible.extra, "PATH": path, "PYTHONPATH": "",
            "ANSIBLE_PYTHON_INTERPRETER": f"{root}/python/bin/python",
        },
        root / "share" / "ansible" / "collections",
    )  # fmt: skip
    for template in ("site", "maintenance", "guard"):
        job.run(template)
        if template == "site":
            assert fleet.backup("image1").returncode == 0
    assert job.table(job.run("verify"))[0].split()[1] == "ok"
