# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The download of restic's release, with a key, a signature and a web server of its own."""

from __future__ import annotations

import bz2
import functools
import hashlib
import http.server
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ways import way

SCRIPT = Path(__file__).resolve().parents[2] / "roles" / "restic" / "files" / "fetch_release.py"
PROGRAM = b"#!/bin/sh\necho restic 9.9.9\n"
NAME = "restic_9.9.9_linux_amd64"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


def gpg(home: Path, *arguments: str) -> str:
    command = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--pinentry-mode", "loopback", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module", name="keys")
def fixture_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    for name in ("signer", "stranger"):
        gpg(home, "--quick-generate-key", name, "ed25519", "sign")
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


@dataclass
class Mirror:
    """A web server with one release, whose files a test may spoil."""

    release: Path
    url: str
    keys: Path
    cache: Path

    def sign(self, who: str = "signer") -> None:
        sums = self.release / "SHA256SUMS"
        sums.with_suffix(".asc").unlink(missing_ok=True)
        gpg(self.keys, "--local-user", who, "--armor", "--detach-sign", str(sums))

    def fetch(self, *more: str, said: str = "") -> subprocess.CompletedProcess[str]:
        # One for each call, as several are made at a time.
        key = self.release.parents[1] / f"{secrets.token_hex(4)}.asc"
        key.write_text(gpg(self.keys, "--armor", "--export", "signer"), encoding="utf-8")
        listed = gpg(self.keys, "--with-colons", "--fingerprint", "signer")
        fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
        command = [
            f"--url={self.url}", "--version=9.9.9", "--architecture=amd64", f"--target={self.cache / NAME}",
            f"--key={key}", f"--fingerprint={fingerprint}", *more,
        ]  # fmt: skip
        words = [sys.executable, str(SCRIPT), *command]
        return subprocess.run(words, input=said, capture_output=True, text=True, check=False)


@pytest.fixture(name="mirror")
def fixture_mirror(tmp_path: Path, keys: Path) -> Iterator[Mirror]:
    if shutil.which("gpg") is None:
        pytest.fail("gpg is missing: install the package gnupg.")
    release = tmp_path / "www" / "v9.9.9"
    release.mkdir(parents=True)
    packed = bz2.compress(PROGRAM)
    (release / f"{NAME}.bz2").write_bytes(packed)
    (release / "SHA256SUMS").write_text(f"{hashlib.sha256(packed).hexdigest()}  {NAME}.bz2\n", encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirror = Mirror(release, f"http://127.0.0.1:{server.server_port}", keys, tmp_path / "cache")
        mirror.sign()
        yield mirror
        server.shutdown()


def test_good_release_is_unpacked_once(mirror: Mirror) -> None:
    assert mirror.fetch().stdout == "downloaded\n"
    program = mirror.cache / NAME
    assert program.read_bytes() == PROGRAM
    assert program.stat().st_mode & 0o777 == 0o755
    assert mirror.fetch().stdout == "present\n"


def test_it_comes_through_a_proxy_whose_address_is_a_secret(mirror: Mirror) -> None:
    with way(mirror.url) as proxy:
        mirror.url = "http://releases.invalid"
        done = mirror.fetch("--proxy=stdin", said=f"http://me:secret@127.0.0.1:{proxy.port}\n")
        assert done.stdout == "downloaded\n", done.stderr
        assert {host for host, _agent, _proof in proxy.passed} == {"releases.invalid"}
        assert all(proof.startswith("Basic ") for _host, _agent, proof in proxy.passed)


def test_what_was_changed_in_the_cache_is_fetched_again(mirror: Mirror) -> None:
    mirror.fetch()
    program = mirror.cache / NAME
    assert mirror.cache.stat().st_mode & 0o777 == 0o700
    program.write_bytes(b"evil")
    assert mirror.fetch().stdout == "downloaded\n"
    assert program.read_bytes() == PROGRAM
    program.with_name(f"{NAME}.sha256").unlink()
    assert mirror.fetch().stdout == "downloaded\n"


@pytest.mark.parametrize("name", ["", NAME, f"{NAME}.sha256"])
def test_what_others_could_have_written_is_refused(mirror: Mirror, name: str) -> None:
    mirror.fetch()
    path = mirror.cache / name
    path.chmod(path.stat().st_mode | 0o020)
    done = mirror.fetch()
    assert done.returncode == 1 and "can be written by others" in done.stderr, done.stderr
    path.chmod(path.stat().st_mode & ~0o020)
    assert mirror.fetch().stdout == "present\n"


def test_folders_above_the_cache_are_closed_whatever_the_umask(mirror: Mirror) -> None:
    mirror.cache = mirror.cache / "holdfast" / "releases"
    previous = os.umask(0o002)
    try:
        assert mirror.fetch().stdout == "downloaded\n"
    finally:
        os.umask(previous)
    assert [path.stat().st_mode & 0o777 for path in (mirror.cache, mirror.cache.parent)] == [0o700, 0o700]


def test_several_at_a_time_download_once(mirror: Mirror) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _each: mirror.fetch().stdout, range(4)))
    assert sorted(done) == ["downloaded\n", *["present\n"] * 3]


def test_a_cache_that_cannot_be_is_told(mirror: Mirror) -> None:
    mirror.cache.write_bytes(b"a file")
    done = mirror.fetch()
    assert done.returncode == 1 and done.stderr.startswith("The release cannot be kept:")
    assert "Traceback" not in done.stderr


def refused(mirror: Mirror, *more: str) -> str:
    done = mirror.fetch(*more)
    assert done.returncode == 1
    assert not list(mirror.cache.glob("*"))
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_other_content_is_refused(mirror: Mirror) -> None:
    (mirror.release / f"{NAME}.bz2").write_bytes(bz2.compress(b"evil"))
    assert "SHA-256" in refused(mirror)


def test_other_content_with_fitting_checksums_is_refused(mirror: Mirror) -> None:
    packed = bz2.compress(b"evil")
    (mirror.release / f"{NAME}.bz2").write_bytes(packed)
    sums = f"{hashlib.sha256(packed).hexdigest()}  {NAME}.bz2\n"
    (mirror.release / "SHA256SUMS").write_text(sums, encoding="utf-8")
    assert "signature" in refused(mirror)


def test_signature_of_a_stranger_is_refused(mirror: Mirror) -> None:
    mirror.sign("stranger")
    assert "signature" in refused(mirror)


def test_wrong_pin_is_refused_although_the_signature_is_good(mirror: Mirror) -> None:
    assert "expected" in refused(mirror, f"--checksum={'0' * 64}")


def test_missing_version_and_nothing_to_trust_are_told(mirror: Mirror) -> None:
    assert "Cannot download" in refused(mirror, "--version=1.2.3")
    assert "The checksum of" in refused(mirror, "--key=")
