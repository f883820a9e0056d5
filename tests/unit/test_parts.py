# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `make test` and `make proof` run, in which order, and what they write down: with real make and git."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import wait_for
from tools import parts
from tools.parts import Part

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = """
.RECIPEPREFIX = >
one two three:
> @echo "$@ $(WHOLE)" >>../ran
bad:
> @echo this is what is wrong; exit 1
tested:
> @echo '<testsuites><testsuite tests="5" skipped="1" failures="0" errors="0"/></testsuites>' >$(REPORT)
without:
> @echo 'SKIPPED: there is no such program.'
left right:
> @touch ../$@; while [ ! -e ../left ] || [ ! -e ../right ]; do sleep 0.1; done
changes:
> @touch new
orphan:
> @setsid sleep 600 & echo $$! >../pid; echo ended
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in a folder with a space in its name. The make that may have started these tests has no say in it."""
    for name in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "WHOLE", "REPORT"):
        monkeypatch.delenv(name, raising=False)
    found = tmp_path / "a checkout"
    found.mkdir()
    (found / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    (found / ".gitignore").write_text(".results/\n", encoding="utf-8")
    git(found, "init", "--quiet")
    commit(found)
    return found


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=Change")


def run(root: Path, name: str, *found: Part, names: tuple[str, ...] = (), force: bool = False) -> int:
    before = {number: signal.getsignal(number) for number in (1, 2, 3, 15)}
    try:
        return parts.main([name, *names], root, found, force=force)
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def record(root: Path, name: str) -> dict[str, dict[str, Any]]:
    entries = json.loads((root / ".results" / f"{name}.json").read_text(encoding="utf-8"))
    return {entry["part"]: entry for entry in entries}


def ran(root: Path) -> list[str]:
    path = root.parent / "ran"
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


ONE, TWO, BAD = Part("one"), Part("two", sampled=True), Part("bad")


def test_a_test_ends_at_a_failure_and_says_so(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(root, "test", ONE, BAD, TWO) == 1
    assert ran(root) == ["one "]
    told = capfd.readouterr().out
    assert "this is what is wrong" in told
    assert "FAILED: bad, see .results/logs/bad.log" in told and "not run: two" in told
    assert "this is what is wrong" in (root / ".results" / "logs" / "bad.log").read_text(encoding="utf-8")
    assert {name: entry["ok"] for name, entry in record(root, "test").items()} == {"one": True, "bad": False}


def test_a_proof_goes_on_and_is_whole(root: Path) -> None:
    assert run(root, "proof", BAD, ONE, TWO) == 1
    assert ran(root) == ["one yes", "two yes"]
    entry = record(root, "proof")["one"]
    assert (entry["cases"], entry["passed"], entry["ok"]) == (1, 1, True)
    assert len(entry["commit"]) == len(entry["tree"]) == 40
    assert entry.keys() >= {"seconds", "cpu", "load"}


def test_what_is_proved_of_this_tree_is_not_run_again(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(root, "test", ONE, TWO) == 0
    # Only a sample of the second was tested.
    assert run(root, "proof", ONE, TWO) == 0
    assert ran(root) == ["one ", "two ", "two yes"]
    assert run(root, "proof", ONE, TWO) == 0
    assert ran(root) == ["one ", "two ", "two yes"]
    assert "before" in capfd.readouterr().out
    assert set(record(root, "proof")) == {"one", "two"}
    assert run(root, "proof", ONE, TWO, force=True) == 0
    assert ran(root)[3:] == ["one yes", "two yes"]


@pytest.mark.parametrize("how", ["another commit", "a change", "a new file"])
def test_another_tree_is_proved_anew(root: Path, how: str) -> None:
    assert run(root, "proof", ONE) == 0
    (root / ("new" if how == "a new file" else "Makefile")).write_text(MAKEFILE + "# more\n", encoding="utf-8")
    if how == "another commit":
        commit(root)
    for _time in range(2):
        assert run(root, "proof", ONE) == 0
    # What is not in a commit proves nothing of one.
    assert len(ran(root)) == (2 if how == "another commit" else 3)


def test_a_part_that_changes_files_proves_nothing_of_the_commit(root: Path) -> None:
    assert run(root, "proof", Part("changes")) == 0
    assert record(root, "proof")["changes"]["tree"] == ""


def test_failures_and_what_was_skipped_are_no_proof(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _time in range(2):
        assert run(root, "proof", Part("without"), BAD) == 1
    assert (record(root, "proof")["without"]["passed"], record(root, "proof")["without"]["skipped"]) == (0, 1)
    told = capfd.readouterr().out
    assert told.count("without: SKIPPED: there is no such program.") == 2


def test_cases_are_those_of_pytest(root: Path) -> None:
    assert run(root, "proof", Part("tested")) == 0
    entry = record(root, "proof")["tested"]
    assert (entry["cases"], entry["passed"], entry["skipped"]) == (5, 4, 1)


def test_parts_that_leave_a_core_run_side_by_side(root: Path) -> None:
    """Each of the two waits for the other."""
    assert run(root, "test", Part("left", cores=1), Part("right", cores=1), ONE) == 0
    assert ran(root) == ["one "]


def test_nobody_waits_for_what_a_part_leaves_behind(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        assert run(root, "test", Part("orphan"), ONE) == 0
        pid = int((root.parent / "pid").read_text(encoding="utf-8"))
        assert Path(f"/proc/{pid}").exists() and "ended" in capfd.readouterr().out
    finally:
        os.kill(pid, signal.SIGKILL)


def test_parts_are_named(root: Path) -> None:
    assert run(root, "proof", ONE, BAD, TWO, names=("two",)) == 0
    assert ran(root) == ["two yes"]
    with pytest.raises(SystemExit, match=r"There is no part three\..*: one, bad, two"):
        run(root, "proof", ONE, BAD, TWO, names=("three",))


# A part that ignores nothing must die of what a terminal sends, whatever was ignored where the run was started.
BACKGROUND = """
import signal, sys
from pathlib import Path
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
from tools import parts
sys.exit(parts.main(["test"], Path(sys.argv[1]), [parts.Part("waits"), parts.Part("after")]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_in_the_background_survives_its_terminal_and_ends_its_parts(root: Path, number: signal.Signals) -> None:
    (root / "Makefile").write_text("waits:\n\t@echo $$$$ >pid; exec sleep 600\nafter:\n\t@touch after\n")
    command = [sys.executable, "-c", BACKGROUND, str(root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            wait_for(lambda: (root / "pid").exists() and (root / "pid").read_text().endswith("\n"), "the part")
            part = Path("/proc") / (root / "pid").read_text().strip()
            ignored = int((part / "status").read_text().split("SigIgn:")[1].split()[0], 16)
            assert not [one for one in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP) if ignored & 1 << one - 1]
            process.send_signal(signal.SIGHUP)
            assert part.exists()
        finally:
            process.send_signal(number)
        told = process.communicate()[0].decode()
    assert process.returncode == 128 + number
    assert "FAILED: waits" in told and "not run: after" in told
    assert not (root / "after").exists() and not part.exists()


UNREAD = """
import sys
from pathlib import Path
from tools.parts import Part, main
sys.exit(main(["test"], Path(sys.argv[1]), [Part("one"), Part("two")]))
"""


def test_a_run_goes_on_when_nobody_reads_what_it_prints(root: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen([sys.executable, "-c", UNREAD, str(root)], cwd=ROOT, stdout=writing) as process:
        os.close(writing)
    assert process.returncode == 0
    assert ran(root) == ["one ", "two "]
    assert {name: entry["ok"] for name, entry in record(root, "test").items()} == {"one": True, "two": True}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_result_that_cannot_be_read_is_a_failure(root: Path) -> None:
    (root / "Makefile").write_text("odd:\n\t@echo not xml >$(REPORT)\n", encoding="utf-8")
    assert run(root, "test", Part("odd"), ONE) == 1
    assert ran(root) == []


def test_every_part_is_a_target_of_make() -> None:
    found = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {part.name for part in parts.PARTS} <= found
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
