# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Download one of restic's releases, verify signature and checksum, unpack it. Runs on the controller.

Prints "downloaded" or "present". Nothing unverified ever gets the name that the role copies from, and what has it is compared
with the checksum that was kept of it, each time.
"""

from __future__ import annotations

import argparse
import base64
import bz2
import contextlib
import fcntl
import hashlib
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator

# Alexander Neumann, who signs restic's releases (restic's documentation, "Installation").
FINGERPRINT = "CF8F18F2844575973F79D4E191A6868BD3F7A907"


class Refused(Exception):
    """The release cannot be had or cannot be trusted; told in one sentence."""


def download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise Refused(
            f"Cannot download {url}: {error}. Is restic_release_url right, and is restic_proxy needed?"
        ) from error


def dearmored(key: str) -> bytes:
    """The key as gpgv wants it: without armour."""
    body = key.split("\n\n", 1)[1].split("\n=", 1)[0]
    return base64.b64decode(body)


def verify_signature(sums: bytes, signature: bytes, key: str, fingerprint: str) -> None:
    """Refuse checksums that the key with this fingerprint did not sign."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "key.gpg").write_bytes(dearmored(key))
        (folder / "sums").write_bytes(sums)
        (folder / "sums.asc").write_bytes(signature)
        argv = ["gpgv", "--status-fd", "1", "--keyring", str(folder / "key.gpg")]
        try:
            done = subprocess.run(
                [*argv, str(folder / "sums.asc"), str(folder / "sums")], capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise Refused(
                "gpgv is missing on the controller: install it, or pin restic_checksums and set restic_verify_signature to false."
            ) from error
    valid = [line.split() for line in done.stdout.splitlines() if line.startswith("[GNUPG:] VALIDSIG ")]
    if done.returncode != 0 or not any(fingerprint in words for words in valid):
        raise Refused(f"The signature of SHA256SUMS is not by the key {fingerprint}: nothing was installed.")


def listed_checksum(sums: bytes, name: str) -> str:
    for line in sums.decode().splitlines():
        words = line.split()
        if len(words) == 2 and words[1].lstrip("*") == name:
            return words[0]
    raise Refused(f"SHA256SUMS lists no {name}: is there such a version for this architecture?")


@contextlib.contextmanager
def alone(directory: pathlib.Path) -> Iterator[None]:
    """Let no other process download into a folder meanwhile: Ansible calls this for many hosts at a time."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_foreign(directory)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def refuse_foreign(path: pathlib.Path) -> None:
    """Refuse a file that another user could have written."""
    found = path.lstat()
    if found.st_uid not in (0, os.geteuid()) or stat.S_ISLNK(found.st_mode) or found.st_mode & 0o022:
        raise Refused(
            f"{path} belongs to another user or can be written by others: remove it, and set restic_controller_cache to a "
            "folder of yours."
        )


def is_kept(target: pathlib.Path, checksum: pathlib.Path) -> bool:
    """Whether the release is there as it was verified."""
    for path in (target, checksum):
        if not os.path.lexists(path):
            return False
        refuse_foreign(path)
    return checksum.read_text(encoding="ascii").strip() == hashlib.sha256(target.read_bytes()).hexdigest()


def fetch(options: argparse.Namespace) -> str:
    target: pathlib.Path = options.target
    checksum = target.with_name(f"{target.name}.sha256")
    if is_kept(target, checksum):
        return "present"
    name = f"restic_{options.version}_linux_{options.architecture}.bz2"
    base = f"{options.url.rstrip('/')}/v{options.version}"
    expected = {options.checksum.lower()} if options.checksum else set()
    if options.key:
        sums = download(f"{base}/SHA256SUMS")
        key = pathlib.Path(options.key).read_text(encoding="utf-8")
        verify_signature(sums, download(f"{base}/SHA256SUMS.asc"), key, options.fingerprint)
        expected.add(listed_checksum(sums, name))
    if not expected:
        raise Refused(f"The checksum of {name} is not known: set restic_verify_signature or restic_checksums.")
    packed = download(f"{base}/{name}")
    found = hashlib.sha256(packed).hexdigest()
    if expected != {found}:
        raise Refused(
            f"{name} has the SHA-256 {found}, expected {' and '.join(sorted(expected))}: nothing was installed."
        )
    program = bz2.decompress(packed)
    for path, content in ((checksum, hashlib.sha256(program).hexdigest().encode()), (target, program)):
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as partial:
            partial.write(content)
        os.chmod(partial.name, 0o755 if path == target else 0o600)
        os.replace(partial.name, path)
    return "downloaded"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "version", "architecture"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--checksum", default="")
    parser.add_argument("--key", default="", help="armoured public key; empty: no signature is asked for")
    parser.add_argument("--fingerprint", default=FINGERPRINT)
    parser.add_argument(
        "--ca-file", default="", help="certificates of the authorities that count; empty: the machine's"
    )
    parser.add_argument(
        "--proxy", choices=["", "stdin"], default="", help="where to read the address of a proxy, which is a secret"
    )
    parser.add_argument("--target", type=pathlib.Path, required=True, help="the name that what is verified gets")
    options = parser.parse_args()
    os.umask(0o077)
    if options.proxy:
        os.environ.update(dict.fromkeys(("http_proxy", "https_proxy"), sys.stdin.readline().strip()))
    if options.ca_file:
        os.environ["SSL_CERT_FILE"] = options.ca_file
    try:
        with alone(options.target.parent):
            print(fetch(options))
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The release cannot be kept: {error}. Is restic_controller_cache a folder of yours?", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
