# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put a restic that is recent enough for maintenance at .cache/restic/restic, for the tests and the demo.

In this order: the one on PATH; upstream's release, its checksums verified by their signature; Debian's newest package,
verified by apt with Debian's keys and unpacked without root. Nothing outside the checkout changes.
Where RESTIC is the path of one, that is looked at and nothing else is done.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "restic"
TARGET = CACHE / "restic"
MINIMUM = (0, 19, 0)
RELEASE = "0.19.1"
RELEASES = "https://github.com/restic/restic/releases/download"
MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "i686": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}
ANSWER_TIMEOUT = 10
DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Unavailable(Exception):
    """One way of getting restic does not work here."""


def version(program: str | Path) -> tuple[int, ...]:
    """The version that a restic program reports, empty when it does not run."""
    try:
        answer = subprocess.run([str(program), "version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.match(r"restic (\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in match.groups()) if match else ()


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program; what it printed, or Unavailable with the last line of its complaint."""
    try:
        answer = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=cwd,
        )
    except OSError as error:
        raise Unavailable(f"{command[0]} cannot be run: {error}") from error
    if answer.returncode:
        lines = (answer.stderr or answer.stdout).strip().splitlines() or ["no reason given"]
        raise Unavailable(f"{command[0]} failed: {lines[-1]}")
    return answer.stdout


def from_path(work: Path) -> Path:
    """The restic on PATH, if it is recent enough."""
    found = shutil.which("restic")
    if not found or version(found) < MINIMUM:
        raise Unavailable("no restic 0.19 or newer on PATH")
    (work / "restic").symlink_to(found)
    return work / "restic"


def from_upstream(work: Path) -> Path:
    """Upstream's release, verified by checksum and signature with the program of the role `restic`."""
    machine = MACHINES.get(platform.machine())
    if platform.system() != "Linux" or not machine:
        raise Unavailable(f"no upstream program is known for {platform.system()} on {platform.machine()}")
    try:
        # The role waits long for an answer; where nothing outside can be reached, nobody should have to.
        urllib.request.urlopen(f"{RELEASES}/v{RELEASE}/SHA256SUMS", timeout=ANSWER_TIMEOUT).close()
    except OSError as error:
        raise Unavailable(f"upstream's releases cannot be reached: {error}") from error
    print("  Downloading and verifying about 10 MB ...", file=sys.stderr, flush=True)
    files = ROOT / "roles" / "restic" / "files"
    release = ["--url", RELEASES, "--version", RELEASE, "--architecture", machine]
    key: list[str | Path] = ["--key", files / "restic-release-key.asc"]
    run(sys.executable, files / "fetch_release.py", *release, *key, "--target", work / "restic")
    return work / "restic"


def debian_mirrors() -> list[str]:
    """The mirrors of Debian that this machine's apt is set up with."""
    try:
        told = run(
            "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"
        ).split()
    except Unavailable:
        told = []
    # Before the first `apt-get update`, apt has no release files and so no Origin: read its sources.
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in sources if path.is_file())
    told += re.findall(r"^(?:deb\s+(?:\[[^]]*\]\s*)?|URIs:\s*)(\S+/debian/?)(?:\s|$)", text, re.MULTILINE)
    return list(dict.fromkeys(uri for uri in told if "security" not in uri))


def apt_configuration(work: Path, mirror: str) -> list[str]:
    """Options that give apt a state of its own, so that it needs no root and leaves the machine's alone."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    (work / "sources.list").write_text(f"deb [signed-by={DEBIAN_KEYS}] {mirror} sid main\n", encoding="utf-8")
    (work / "status").touch()
    settings = {
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        # A mirror that is a snapshot has release files past their date; they are signed all the same.
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "APT::Sandbox::User": "",
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def from_debian(work: Path) -> Path:
    """The restic of Debian's unstable suite."""
    return package_from_debian(work, "restic") / "usr" / "bin" / "restic"


def package_from_debian(work: Path, name: str) -> Path:
    """A package of Debian's unstable suite, which apt verifies, unpacked and not installed."""
    mirrors = debian_mirrors()
    if not mirrors:
        raise Unavailable("apt is not set up with a mirror of Debian")
    options = apt_configuration(work, mirrors[0])
    print("  Reading Debian's package lists (unstable) ...", file=sys.stderr, flush=True)
    run("apt-get", *options, "update")
    print("  Downloading the package ...", file=sys.stderr, flush=True)
    run("apt-get", *options, "download", name, cwd=work)
    package = next(work.glob(f"{name}_*.deb"))
    run("dpkg-deb", "-x", package, work / "unpacked")
    return work / "unpacked"


def install(program: Path) -> None:
    """Put the program in its place in one step, so that whoever looks there sees a whole one or none."""
    part = CACHE / f"restic.{os.getpid()}.part"
    if program.is_symlink():
        part.symlink_to(program.readlink())
    else:
        shutil.copyfile(program, part)
        part.chmod(0o755)
    part.replace(TARGET)


def is_recent(named: str) -> bool:
    """Whether the restic that RESTIC names will do; says so where it will not."""
    if version(named) >= MINIMUM:
        return True
    print(f"RESTIC is {named}, which is no restic 0.19 or newer: set it to one, or unset it.", file=sys.stderr)
    return False


def main() -> int:
    named = os.environ.get("RESTIC")
    if named:
        return 0 if is_recent(named) else 1
    if version(TARGET) >= MINIMUM:
        return 0
    CACHE.mkdir(parents=True, exist_ok=True)
    ways: list[tuple[str, Callable[[Path], Path]]] = [
        ("the restic on PATH", from_path),
        (f"upstream's release {RELEASE}", from_upstream),
        ("Debian's newest package", from_debian),
    ]
    for name, way in ways:
        print(f"restic: trying {name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            try:
                program = way(Path(work))
                found = version(program)
                if found < MINIMUM:
                    raise Unavailable(f"its version is {'.'.join(map(str, found)) or 'unknown'}, 0.19 is needed")
                install(program)
            except Unavailable as reason:
                print(f"  no: {reason}", file=sys.stderr, flush=True)
                continue
        print(f"restic: {'.'.join(map(str, found))} is in {TARGET.relative_to(ROOT)}", file=sys.stderr)
        return 0
    print("No restic 0.19 or newer could be had: install one, or set RESTIC to its path.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
