# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When windows open and close around a program that speaks like restic; processes and signals are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._phases import Phase
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import Repository, Restic
from ansible_collections.holdfast.restic_r2.plugins.module_utils._signals import Interrupted, signals_raise
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windowed_run import WindowedRun

from tests.support.repositories import program
from tests.support.running import ROOT, link_collection

PHASES = {
    Phase.UNREFERENCED: ("data",),
    Phase.REPACKING: (),
    Phase.INDEX: ("index", "data"),
    Phase.REMOVING: ("index", "data"),
    Phase.DONE: (),
}


def state(pid: int) -> str:
    """The state of a process, as in ps: T is stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


def wait_for(condition: Any, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


class Bench:
    """A program in place of restic, and windows that only write down what happens to them."""

    def __init__(self, folder: Path, script: str, **settings: Any) -> None:
        self.folder = folder
        self.events: list[str] = []
        self.fails: Optional[Exception] = None
        self.ends: Optional[str] = None
        repository = Repository("http://127.0.0.1:1", "bucket", "", "id", "secret", None, "password")
        restic = Restic(repository, path=program(folder / "restic", f"echo $$ > '{folder}/pid'\n{script}"))
        settings = {"phases": PHASES, **settings}
        self.run = WindowedRun(restic, ["prune"], ("index", "data"), self._window, **settings)

    @property
    def pid(self) -> int:
        path = self.folder / "pid"
        return int(path.read_text()) if path.exists() and path.read_text() else 0

    def _window(self, parts: tuple[str, ...]) -> Any:
        return FakeWindow(self, parts)


class FakeWindow:
    def __init__(self, bench: Bench, parts: tuple[str, ...]) -> None:
        self.bench = bench
        self.parts = "+".join(parts)
        self.report: dict[str, Any] = {}
        self.held = False
        self._read, self._write = os.pipe()

    def __enter__(self) -> FakeWindow:
        held = self.bench.pid and wait_for(lambda: state(self.bench.pid) in ("T", "Z", "gone"))
        held = held and state(self.bench.pid) == "T"
        if self.bench.fails:
            raise self.bench.fails
        self.bench.events.append(f"open {self.parts}{' held' if held else ''}")
        (self.bench.folder / "opened").touch()
        self.held = True
        if self.bench.ends == "told":
            os.write(self._write, b"over")
        return self

    def __exit__(self, *_error: object) -> None:
        self.bench.events.append(f"close {self.parts}")
        (self.bench.folder / f"closed {self.parts}").touch()
        self.held = False
        ended_by = "its work is done" if self.bench.ends is None else "the lease ran out"
        self.report = {"opened": "then", "parts": self.parts, "ended_by": ended_by}

    def guards(self, pid: int) -> None:
        assert wait_for(lambda: pid == self.bench.pid)
        self.bench.events.append("guards")

    def over(self) -> Optional[str]:
        return "the lease ran out" if self.bench.ends == "told" else None

    def fileno(self) -> int:
        return self._read


def until_opened(folder: Path) -> str:
    return f"while ! [ -e '{folder}/opened' ]; do sleep 0.02; done"


def test_opens_at_the_lines_that_announce_a_deletion(tmp_path: Path) -> None:
    """Closes at the lines too, and not when something else wants to open, or restic has ended."""
    until_closed = f"while ! [ -e '{tmp_path}/closed %s' ]; do sleep 0.02; done"
    bench = Bench(
        tmp_path,
        f"""echo 'loading all snapshots...'; echo 'deleting unreferenced packs'
echo 'repacking packs'; {until_closed % "data"}
echo 'rebuilding index'; echo 'removing 3 old packs'; echo done; {until_closed % "index+data"}""",
        timeout=120,
    )
    assert bench.run.run().exit_code == 0
    assert [event.replace(" held", "") for event in bench.events] == [
        "open data", "guards", "close data", "open index+data", "guards", "close index+data",
    ]  # fmt: skip
    assert [window["parts"] for window in bench.run.windows] == ["data", "index+data"]
    assert not bench.run.refused_first


def test_holds_restic_while_the_window_opens(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "echo 'rebuilding index'; exec sleep 30")
    bench.run.timeout = 5
    with pytest.raises(HoldfastError, match="restic prune on bucket was stopped after 5 seconds"):
        bench.run.run()
    assert bench.events == ["open index+data held", "guards", "close index+data"]
    assert state(bench.pid) == "gone"


def test_no_window_without_a_deletion(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "echo 'repacking packs'; echo done")
    assert bench.run.run().exit_code == 0
    assert bench.events == [] and bench.run.windows == []


def test_a_refused_delete_opens_where_no_line_did(tmp_path: Path) -> None:
    refusal = "Remove(<index/0123456789>) returned error, retrying after 500ms: The object is locked"
    bench = Bench(tmp_path, f"echo 'a new way to say it'; echo '{refusal}' >&2; {until_opened(tmp_path)}; exit 0")
    completed = bench.run.run()
    assert bench.events == ["open index+data held", "guards", "close index+data"]
    assert bench.run.refused_first and refusal in completed.stderr


def test_the_line_counts_and_not_the_refusal_that_follows_it(tmp_path: Path) -> None:
    refusal = "Remove(<data/0123456789>) returned error, retrying after 500ms: The object is locked"
    bench = Bench(tmp_path, f"echo 'deleting unreferenced packs'; echo '{refusal}' >&2; echo done")
    bench.run.run()
    assert not bench.run.refused_first and bench.events[0].startswith("open data")


def test_a_refusal_after_a_window_opens_no_other(tmp_path: Path) -> None:
    refusal = "Remove(<data/0123456789>) returned error, retrying after 500ms: The object is locked"
    bench = Bench(tmp_path, f"echo 'deleting unreferenced packs'; echo 'repacking packs'; echo '{refusal}' >&2")
    bench.run.run()
    assert [event for event in bench.events if event.startswith("open")] == [bench.events[0]]


def test_the_whole_of_an_unknown_restic(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "echo 'rebuilding index'; echo done; exit 3", whole=True)
    assert bench.run.run().exit_code == 3
    assert bench.events == ["open index+data", "guards", "close index+data"]


def test_asks_where_no_line_tells(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    bench = Bench(tmp_path, f"touch '{ready}'; {until_opened(tmp_path)}", phases={}, ready=ready.exists)
    bench.run.on_line = lambda line: None
    assert bench.run.run().exit_code == 0
    assert bench.events == ["open index+data held", "guards", "close index+data"]


def test_a_window_that_cannot_be_opened_ends_restic_politely(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        f"""trap 'touch "{tmp_path}/polite"; kill $!; exit 130' INT
echo 'rebuilding index'; sleep 30 > /dev/null 2>&1 & wait $!""",
    )
    bench.fails = HoldfastError("still enforced")
    with pytest.raises(HoldfastError, match="still enforced"):
        bench.run.run()
    assert (tmp_path / "polite").exists() and bench.events == [] and bench.run.windows == []
    assert state(bench.pid) == "gone"


@pytest.mark.parametrize("ends", ["told", "silently"])
def test_a_window_that_ends_early_ends_restic(tmp_path: Path, ends: str) -> None:
    """The keeper interrupts restic, which may end before the keeper can tell."""
    bench = Bench(tmp_path, f"echo 'rebuilding index'; {'exit 130' if ends == 'silently' else 'exec sleep 30'}")
    bench.ends = ends
    with pytest.raises(HoldfastError, match=r"window of bucket ended before restic prune did: the lease ran out"):
        bench.run.run()
    assert bench.events[-1] == "close index+data" and state(bench.pid) == "gone"


def test_a_line_can_stop_restic(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "echo 'duplicates: 5'; echo 'rebuilding index'; exec sleep 30")

    def listen(line: str) -> None:
        if line.startswith("duplicates"):
            raise HoldfastError("too many")

    bench.run.on_line = listen
    with pytest.raises(HoldfastError, match="too many"):
        bench.run.run()
    assert bench.events == [] and state(bench.pid) == "gone"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_restic_and_then_the_window(tmp_path: Path, number: int) -> None:
    bench = Bench(tmp_path, "echo 'rebuilding index'; exec sleep 30")
    guards = FakeWindow.guards

    def signalled(window: FakeWindow, pid: int) -> None:
        guards(window, pid)
        os.kill(os.getpid(), number)

    FakeWindow.guards = signalled  # type: ignore[method-assign]
    try:
        with pytest.raises(Interrupted, match=signal.Signals(number).name), signals_raise():
            bench.run.run()
    finally:
        FakeWindow.guards = guards  # type: ignore[method-assign]
    assert bench.events[-1] == "close index+data" and state(bench.pid) == "gone"


@pytest.mark.parametrize("when", ["__enter__", "__exit__"])
def test_a_signal_at_the_edge_of_a_window_leaves_it_to_nobody(tmp_path: Path, when: str) -> None:
    bench = Bench(tmp_path, "echo 'rebuilding index'; echo done; exec sleep 30")
    original = getattr(FakeWindow, when)
    sent: list[int] = []

    def edge(window: FakeWindow, *arguments: object) -> Any:
        found = original(window, *arguments) if when == "__enter__" else None
        if not sent:
            sent.append(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return original(window, *arguments) if when == "__exit__" else found

    setattr(FakeWindow, when, edge)
    try:
        with pytest.raises(Interrupted), signals_raise():
            bench.run.run()
    finally:
        setattr(FakeWindow, when, original)
    assert bench.events[-1] == "close index+data" and len(bench.run.windows) == 1


PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.test_windowed_run import Bench
Bench(Path({folder!r}), {script!r}).run.run()
"""


@pytest.mark.parametrize("script", ["exec sleep 30", "kill -STOP $$"])
def test_restic_dies_with_its_parent(tmp_path: Path, script: str) -> None:
    """Also when it is held: nobody would ever let it go on."""
    code = PARENT.format(root=str(ROOT), folder=str(tmp_path), script=f"echo running\n{script}")
    environment = {**os.environ, "PYTHONPATH": str(link_collection())}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as parent:
        assert wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        pid = int((tmp_path / "pid").read_text())
        assert wait_for(lambda: state(pid) == ("T" if "STOP" in script else "S"))
        parent.kill()
    assert wait_for(lambda: state(pid) in ("gone", "Z"))
