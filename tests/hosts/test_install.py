# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways to get restic onto a host: the package, a signed release from a mirror, a file; up, down, and refused."""

from __future__ import annotations

import bz2
import functools
import hashlib
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosts import BootedHosts
from tests.support.running import Run
from tests.support.site import Site

pytestmark = pytest.mark.hosts

SAMPLE = ("bookworm",)
PLAY: list[dict[str, Any]] = [
    {"hosts": "holdfast", "gather_facts": False, "become": True, "roles": ["holdfast.restic_r2.restic"]}
]


class Mirror:
    """A mirror of restic's releases whose "programs" are scripts, signed by a key that was made for this test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gnupg = folder / "gnupg"
        self.gnupg.mkdir(mode=0o700)
        self.releases = folder / "releases"
        self.key = folder / "key.asc"
        self.gpg(
            "--batch", "--passphrase", "", "--quick-generate-key", "Mirror <mirror@example.com>", "rsa2048", "sign"
        )
        self.key.write_text(self.gpg("--armor", "--export"), encoding="utf-8")
        listed = self.gpg("--list-keys", "--with-colons").splitlines()
        self.fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr:"))
        self.asked = asked = list[str]()

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                asked.append(self.path)

        handler = functools.partial(Handler, directory=str(self.releases))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def gpg(self, *arguments: str) -> str:
        """Run gpg in the mirror's own home."""
        argv = ["gpg", "--quiet", "--homedir", str(self.gnupg), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def release(self, version: str) -> Path:
        """Publish a version for two architectures; its folder."""
        folder = self.releases / f"v{version}"
        folder.mkdir(parents=True)
        sums = ""
        for architecture in ("amd64", "arm64"):
            packed = bz2.compress(f"#!/bin/sh\necho 'restic {version} compiled for a test'\n".encode())
            name = f"restic_{version}_linux_{architecture}.bz2"
            (folder / name).write_bytes(packed)
            sums += f"{hashlib.sha256(packed).hexdigest()}  {name}\n"
        (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")
        self.gpg("--armor", "--detach-sign", str(folder / "SHA256SUMS"))
        return folder


@pytest.fixture(scope="module")
def mirror(fleet: BootedHosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A mirror that the controller reaches."""
    found = Mirror(tmp_path_factory.mktemp("mirror"))
    yield found
    found.server.shutdown()
    subprocess.run(["gpgconf", "--homedir", str(found.gnupg), "--kill", "all"], check=False)


def install(site: Site, mirror: Mirror, version: str, *arguments: str, **more: Any) -> Run:
    """Play the role with upstream's releases from the mirror."""
    settings = {
        "restic_method": "upstream",
        "restic_version": version,
        "restic_release_url": mirror.url,
        "restic_release_key": str(mirror.key),
        "restic_release_fingerprint": mirror.fingerprint,
        "restic_controller_cache": str(mirror.folder / "cache"),
    }
    return site.play(PLAY, *arguments, user="admin", **{**settings, **more})


def installed(fleet: BootedHosts) -> set[str]:
    """What the hosts say."""
    return {host.ssh("restic version").stdout.strip() for host in fleet}


def test_a_release_is_fetched_once_and_verified(site: Site, mirror: Mirror, fleet: BootedHosts) -> None:
    mirror.release("0.20.0")
    assert install(site, mirror, "0.20.0", "--check").exit_code == 0
    assert installed(fleet) == {""}
    run = install(site, mirror, "0.20.0")
    assert run.exit_code == 0, run.output
    assert installed(fleet) == {"restic 0.20.0 compiled for a test"}
    assert sorted(path.rpartition("/")[2] for path in mirror.asked) == [
        "SHA256SUMS", "SHA256SUMS.asc", "restic_0.20.0_linux_amd64.bz2"
    ]  # fmt: skip
    assert install(site, mirror, "0.20.0").changed == []


@pytest.mark.parametrize(
    "wrong", ["signature", *(pytest.param(w, marks=pytest.mark.proof) for w in ("checksum", "key", "fingerprint"))]
)
def test_what_cannot_be_trusted_replaces_nothing(site: Site, mirror: Mirror, fleet: BootedHosts, wrong: str) -> None:
    before = installed(fleet)
    folder = mirror.release(f"0.21.{len(wrong)}")
    more: dict[str, Any] = {}
    if wrong == "checksum":
        (folder / f"restic_{folder.name[1:]}_linux_amd64.bz2").write_bytes(bz2.compress(b"#!/bin/sh\necho evil\n"))
    elif wrong == "signature":
        sums = folder / "SHA256SUMS"
        sums.write_text(sums.read_text(encoding="utf-8").replace("0", "1"), encoding="utf-8")
    elif wrong == "key":  # that of restic's own maintainer, who did not sign this
        more = {"restic_release_key": "{{ role_path }}/files/restic-release-key.asc"}
    else:
        more = {"restic_release_fingerprint": "CF8F18F2844575973F79D4E191A6868BD3F7A907"}
    run = install(site, mirror, folder.name[1:], **more)
    assert run.exit_code != 0
    assert "nothing was installed" in run.output
    assert installed(fleet) == before


def test_a_release_that_is_kept_is_verified_again_by_other_pins(site: Site, mirror: Mirror, fleet: BootedHosts) -> None:
    packed = (mirror.releases / "v0.20.0" / "restic_0.20.0_linux_amd64.bz2").read_bytes()
    checksum = hashlib.sha256(packed).hexdigest()
    mirror.asked.clear()
    run = install(site, mirror, "0.20.0", restic_release_fingerprint="CF8F18F2" * 5)
    assert run.exit_code != 0
    assert "nothing was installed" in run.output
    run = install(site, mirror, "0.20.0", restic_checksums={"amd64": checksum})
    assert ["Download and verify" in result.task for result in run.changed] == [True]
    assert mirror.asked.count("/v0.20.0/restic_0.20.0_linux_amd64.bz2") == 1
    assert installed(fleet) == {"restic 0.20.0 compiled for a test"}


@pytest.mark.parametrize(
    "wrong", ["old", *(pytest.param(w, marks=pytest.mark.proof) for w in ("foreign", "no restic"))]
)
def test_what_does_not_do_replaces_nothing(
    site: Site, mirror: Mirror, fleet: BootedHosts, tmp_path: Path, wrong: str
) -> None:
    """That it does not is found out on the host, where another architecture is another answer."""
    before = installed(fleet)
    assert before == {"restic 0.20.0 compiled for a test"}
    program = tmp_path / "restic"
    if wrong == "old":
        mirror.release("0.17.0")
        run = install(site, mirror, "0.17.0")
    else:
        program.write_text("#!/no/such/program" if wrong == "foreign" else "#!/bin/sh\necho 1.0\n", encoding="utf-8")
        run = install(site, mirror, "0.20.0", restic_method="file", restic_file=str(program))
    told = "it is restic 0.17.0, and at least 0.17.1" if wrong == "old" else "it is no restic that runs here"
    for host in fleet:
        assert run.recap[host.name]["failures"] == 1
        assert f"Nothing was replaced: {told}" in run.of(task="Copy restic", host=host.name)[-1].result["stderr"]
        assert host.run("find /usr/local/bin -name '*restic*'") == "/usr/local/bin/restic"
    assert installed(fleet) == before


@pytest.mark.proof
def test_up_and_down_change_one_file(site: Site, mirror: Mirror, fleet: BootedHosts) -> None:
    mirror.release("0.19.7")
    mirror.release("0.20.1")
    for host in fleet:
        host.run("touch /var/tmp/now")
    # One host goes ahead, as when a new version is tried on a few.
    site.hosts["h2"]["restic_version"] = "0.20.1"
    run = install(site, mirror, "0.19.7")
    del site.hosts["h2"]["restic_version"]
    assert run.exit_code == 0, run.output
    for host, version in ((fleet.hosts["h1"], "0.19.7"), (fleet.hosts["h2"], "0.20.1")):
        assert host.run("restic version") == f"restic {version} compiled for a test"
        changed = host.run("find /etc /usr /opt -xdev -newer /var/tmp/now -type f").split()
        assert changed == ["/usr/local/bin/restic"]


@pytest.mark.proof
def test_the_package_of_the_distribution(site: Site, fleet: BootedHosts) -> None:
    settings = {"restic_method": "package", "restic_minimum_version": "0.17.1", "user": "admin"}
    assert site.play(PLAY, holdfast_state="absent", user="admin").exit_code == 0
    # As fresh as from the installer: not even package lists are there yet.
    dry = site.play(PLAY, "--check", **settings)
    assert dry.exit_code == 0, dry.output
    run = site.play(PLAY, **settings)
    for host in fleet:
        # bookworm's 0.14 is too old for what jobs need, and the role says so.
        refused = f"on {host.name} is restic 0.14.0, and at least 0.17.1 is needed" in run.output
        assert refused == (host.suite == "bookworm"), run.output
        assert (run.recap[host.name]["failures"] > 0) == refused
        assert host.run("dpkg-query -W -f '${Status}' restic") == "install ok installed"


@pytest.mark.proof
def test_a_file_from_the_controller(site: Site, fleet: BootedHosts) -> None:
    run = site.play(PLAY, user="admin")
    assert run.exit_code == 0, run.output
    assert len(installed(fleet)) == 1
    assert site.play(PLAY, user="admin").changed == []
