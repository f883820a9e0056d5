# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restic process may answer, and how much memory it may take; the programs are small scripts."""

from __future__ import annotations

import shlex
import sys
import tracemalloc
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import Repository, Restic, TooLargeError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.process import memory_for, out_of_memory

REPOSITORY = Repository("https://account.example", "backup", "", "id", "secret", None, "password")


def restic(folder: Path, script: str) -> Restic:
    path = folder / "restic"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o700)
    return Restic(REPOSITORY, path=str(path))


@pytest.mark.parametrize("stream", ["1", "2"])
def test_an_endless_answer_is_cut(tmp_path: Path, stream: str) -> None:
    program = restic(tmp_path, f"exec yes backup >&{stream}")
    with pytest.raises(TooLargeError, match="restic cat on backup answered more than 1 MiB and was ended"):
        program.run(["cat"], most=1 << 20)


def test_memory_is_limited(tmp_path: Path) -> None:
    allocate = "x = bytearray(1 << 30)"
    script = f"""if [ -n "$GOMEMLIMIT" ]; then
    while grep -q 'Max data size  *unlimited' "/proc/$$/limits"; do :; done
fi
{shlex.quote(sys.executable)} -c {shlex.quote(allocate)} 2>/dev/null && exit 0
echo 'fatal error: runtime: out of memory' >&2; exit 2"""
    program = restic(tmp_path, script)
    assert program.run(["cat"]).exit_code == 0
    with pytest.raises(TooLargeError, match="needed more than 256 MiB of memory"):
        program.run(["cat"], memory=256 << 20)


def test_the_collector_of_go_is_told(tmp_path: Path) -> None:
    program = restic(tmp_path, 'echo "$GOMEMLIMIT"')
    assert program.run(["cat"], memory=400 << 20).stdout.strip() == str(300 << 20)
    assert program.run(["cat"]).stdout.strip() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fatal error: runtime: out of memory\n\ngoroutine 1", True),
        ("runtime: out of memory: cannot allocate 4194304-byte block", True),
        ("fatal error: out of memory allocating heap arena metadata", True),
        ("fatal error: runtime: cannot allocate memory", True),
        ("runtime/cgo: pthread_create failed: Resource temporarily unavailable", True),
        (
            "SIGSEGV: segmentation violation\nPC=0x43a21d m=4\n\ngoroutine 0 gp=0x2f m=4 [idle]:\nruntime.(*spanQueue).x()\n",
            True,
        ),
        ("SIGSEGV: segmentation violation\nPC=0x43a21d m=4\n\ngoroutine 9 gp=0x2f m=4:\nmain.run()\n", False),
        ("Fatal: unable to open /out of memory/x", False),
        ("", False),
    ],
)
def test_what_go_says_when_memory_ends(text: str, expected: bool) -> None:
    assert out_of_memory(text) is expected


def test_a_small_object_gets_less_memory_than_a_large_one() -> None:
    small, large = memory_for(256 << 10), memory_for(64 << 20)
    # Two are read at a time. Of what restic begins with, 192 MiB, it uses a tenth: the rest may be filled by what a host wrote.
    assert 2 * (small - (160 << 20)) < 320 << 20 <= large
    assert memory_for(0) >= (192 + 64) << 20


def test_what_is_read_by_the_line_is_handed_on_whole_and_takes_no_memory(tmp_path: Path) -> None:
    line = (
        '{"message_type":"verbose_status","action":"restored","item":"/srv/a/rather/long/path/of/a/file","size":4096}'
    )
    program = restic(tmp_path, f"yes '{line}' | head -n 200000; echo first >&2; printf last >&2")
    heard: dict[str, int] = {}

    def take(stream: str, text: str) -> None:
        heard[f"{stream} {text}"] = heard.get(f"{stream} {text}", 0) + 1

    tracemalloc.start()
    try:
        said = program.run(["restore"], take=take, most=1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert heard == {f"stdout {line}": 200000, "stderr first": 1, "stderr last": 1}
    assert said.stderr == "first\nlast" and len(said.stdout) == 1 << 17
    assert peak < 4 << 20


def test_a_line_without_an_end_is_cut(tmp_path: Path) -> None:
    program = restic(tmp_path, "exec tr '\\0' x </dev/zero")
    with pytest.raises(TooLargeError, match="answered more than 1 MiB"):
        program.run(["restore"], take=lambda stream, text: None, most=1 << 20)
