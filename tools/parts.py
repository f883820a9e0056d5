# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the parts of `make test` or `make proof`, and say at the end how long each took: parts.py test|proof [PART...]

Each part is a target of make. Its output goes to .results/logs/PART.log and is shown, what it proved to .results/test.json or
.results/proof.json. `test` ends at the first part that fails. `proof` goes on, and leaves out what is proved of this very tree
unless FORCE is set. Only Python's own library is used, because this runs before anything is installed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from xml.etree import ElementTree

CORES = 2


@dataclass(frozen=True)
class Part:
    """A part.

    Args:
        name: The target of make.
        cores: How many of the two cores it keeps busy, on the whole. One that leaves some of them to others runs beside
            these.
        runs: The runs that it belongs to.
        sampled: Whether `test` runs a sample of what `proof` runs.
        whole_cores: The same as cores when all of it is run: much work beside it would only make each case slower.
    """

    name: str
    cores: float = CORES
    runs: tuple[str, ...] = ("test", "proof")
    sampled: bool = False
    whole_cores: float | None = None

    def cores_in(self, run: str) -> float:
        """How many cores it keeps busy in a run."""
        return self.cores if run == "test" or self.whole_cores is None else self.whole_cores


PROOF = ("proof",)
# All leave room for others, for they wait for one thing after the other: what they need was measured. What tells most in
# little time comes first, then what takes longest.
PARTS = (
    Part("sanity", cores=1),
    Part("lint", cores=1),
    Part("types", cores=1),
    Part("unit", cores=1, sampled=True),
    Part("docs-lint", cores=1),
    Part("docs", cores=1),
    Part("importer", cores=1),
    Part("sanity-oldest", cores=1, runs=PROOF),
    Part("sanity-next", cores=1, runs=PROOF),
    Part("unit-oldest", cores=1, runs=PROOF),
    Part("unit-next", cores=1, runs=PROOF),
    Part("model", cores=1, sampled=True),
    Part("fault-matrix", cores=0, sampled=True, whole_cores=0.5),
    # It does one thing after the other, so that it would be the last that runs, with a core that nobody uses.
    Part("demo", cores=0.75),
    Part("integration", cores=1, sampled=True),
    Part("hosts", cores=0.5, sampled=True),
    Part("kill-matrix", cores=0.5, sampled=True, whole_cores=1),
    Part("awx", cores=0.75, sampled=True),
    Part("browser", cores=1),
    Part("attacks", cores=0.5, sampled=True),
)


@dataclass(frozen=True)
class Proved:
    """What a part has proved.

    Args:
        part: Its name.
        cases: How many there were: tests, or one for a part that is none of pytest's.
        passed: How many of these passed.
        skipped: How many of these were not carried out.
        ok: Whether the part as a whole succeeded.
        seconds: How long it took.
        cpu: How many seconds of work that was, of all processes together.
        load: The load of the machine when it began.
        commit: The commit that was tested.
        tree: The id of the tree that was tested; empty when it was not just that of the commit.
    """

    part: str
    cases: int
    passed: int
    skipped: int
    ok: bool
    seconds: float
    cpu: float
    load: float
    commit: str
    tree: str

    @property
    def word(self) -> str:
        if not self.ok:
            return "FAILED"
        return "passed" if self.passed else "SKIPPED"


class Record:
    """The newest result of each part, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: dict[str, Proved] = {}
        if path.exists():
            for entry in json.loads(path.read_text(encoding="utf-8")):
                self.parts[entry["part"]] = Proved(**entry)

    def add(self, proved: Proved) -> None:
        self.parts[proved.part] = proved
        entries = [dataclasses.asdict(one) for _name, one in sorted(self.parts.items())]
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
        part.replace(self.path)

    def proves(self, name: str, tree: str) -> Proved | None:
        """What was proved of a tree by a part that passed."""
        found = self.parts.get(name)
        return found if found and tree and found.tree == tree and found.word == "passed" else None


class Checkout:
    """The checkout whose parts are run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.results = root / ".results"

    def git(self, *arguments: str) -> str:
        try:
            done = subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    def tree(self) -> tuple[str, str]:
        """The commit, and its tree when the files are just those of the commit."""
        commit = self.git("rev-parse", "HEAD")
        clean = commit and not self.git("status", "--porcelain")
        return commit, self.git("rev-parse", "HEAD^{tree}") if clean else ""


def suites_of(report: Path) -> list[ElementTree.Element]:
    """What pytest wrote of its tests; nothing where it was killed before, or in the middle of that."""
    try:
        return list(ElementTree.parse(report).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return []


def cases_of(report: Path, log: Path, ok: bool) -> tuple[int, int, int]:
    """How many cases a part had, and how many of these passed and were skipped."""
    suites = suites_of(report)
    if suites:
        cases, skipped, bad, broken = (
            sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "skipped", "failures", "errors")
        )
        return cases, max(cases - skipped - bad - broken, 0), skipped
    skipped = int(ok and any(line.startswith(b"SKIPPED:") for line in log.read_bytes().splitlines()))
    return 1, int(ok and not skipped), skipped


class Running:
    """A part that is being run, in a session of its own: what ends a terminal ends this program, which ends the part."""

    def __init__(self, part: Part, run: str, checkout: Checkout) -> None:
        self.part = part
        self.checkout = checkout
        self.log = checkout.results / "logs" / f"{part.name}.log"
        self.report = checkout.results / "junit" / f"{part.name}.xml"
        for path in (self.log, self.report):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
        self.commit, self.tree = checkout.tree()
        self.load = round(os.getloadavg()[0], 2)
        self.began = time.monotonic()
        whole = ["WHOLE=yes"] if run == "proof" else []
        # A file and no pipe: a process that a test has left behind would keep that open, and all would wait for it.
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["make", "--no-print-directory", part.name, f"REPORT={self.report.relative_to(checkout.root)}", *whole],
                cwd=checkout.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self) -> Proved:
        """Wait for its end; what it proved."""
        _pid, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        ok = self.process.returncode == 0
        tree = self.tree if self.checkout.tree() == (self.commit, self.tree) else ""
        return Proved(
            self.part.name,
            *cases_of(self.report, self.log, ok),
            ok=ok,
            seconds=round(time.monotonic() - self.began, 1),
            cpu=round(usage.ru_utime + usage.ru_stime, 1),
            load=self.load,
            commit=self.commit,
            tree=tree,
        )

    def signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass


def show(text: bytes) -> None:
    """Print it. Where nobody reads any more, the logs and the exit status tell all the same."""
    try:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Run:
    """A run of parts in their order, side by side where they leave a core."""

    def __init__(self, name: str, parts: Iterable[Part], checkout: Checkout) -> None:
        self.name = name
        self.checkout = checkout
        self.record = Record(checkout.results / f"{name}.json")
        self.waiting = list(parts)
        self.running: list[Running] = []
        self.proved: list[Proved] = []
        self.broken: list[str] = []
        self.ended_by = 0
        self.change = threading.Condition()

    @property
    def stopping(self) -> bool:
        return bool(self.ended_by) or (self.name == "test" and not self.good)

    @property
    def good(self) -> bool:
        return not self.broken and all(one.ok for one in self.proved)

    def end(self, number: int, _frame: FrameType | None = None) -> None:
        """What a signal does: nothing begins any more, and what runs is interrupted, so that tests take down what they have
        put up. A second one does not wait for that.
        """
        first, self.ended_by = not self.ended_by, number
        for one in list(self.running):
            one.signal(signal.SIGINT if first else number)

    def work(self) -> None:
        while self.running or (self.waiting and not self.stopping):
            free = CORES - sum(one.part.cores_in(self.name) for one in self.running)
            if self.waiting and not self.stopping and self.waiting[0].cores_in(self.name) <= free:
                self._start(self.waiting.pop(0))
                continue
            with self.change:
                # With a time limit, because a signal is not handled while a thread waits without one.
                self.change.wait(0.2)

    def _start(self, part: Part) -> None:
        one = Running(part, self.name, self.checkout)
        self.running.append(one)
        show(f"\n=== {part.name}, shown when it ends; until then: {one.log.relative_to(self.checkout.root)}\n".encode())
        threading.Thread(target=self._finish, args=(one,)).start()

    def _finish(self, one: Running) -> None:
        try:
            proved = one.finish()
            with self.change:
                show(f"\n=== {one.part.name}, {proved.seconds:.0f} s\n".encode() + one.log.read_bytes())
                self.proved.append(proved)
                self.record.add(proved)
        except BaseException:
            self.broken.append(one.part.name)
            raise  # and so is told
        finally:
            with self.change:
                self.running.remove(one)
                self.change.notify()


ROW = "{:15} {:8} {:>7} {:>7} {:>8} {:>9} {:>9} {:>6}"


def table(proved: Sequence[Proved], before: Sequence[Proved]) -> list[str]:
    """Each part with how long it took."""
    lines = [ROW.format("PART", "", "CASES", "PASSED", "SKIPPED", "SECONDS", "CPU", "LOAD")]
    for one in (*before, *proved):
        word = one.word if one in proved else "before"
        numbers = (f"{one.seconds:.0f}", f"{one.cpu:.0f}", f"{one.load:.1f}")
        lines.append(ROW.format(one.part, word, one.cases, one.passed, one.skipped, *numbers))
    return lines


def notes(checkout: Checkout, proved: Sequence[Proved]) -> list[str]:
    """What must not be overlooked: what failed, what was skipped and why."""
    found = []
    for one in proved:
        log = checkout.results / "logs" / f"{one.part}.log"
        if not one.ok:
            found.append(f"FAILED: {one.part}, see {log.relative_to(checkout.root)}")
        elif one.skipped:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            found += [f"{one.part}: {line}" for line in lines if line.startswith("SKIPPED")]
    return found


def settle(run: Run) -> None:
    """Be the same however this was started: what was ignored is not ignored by the parts, which need to die of it.

    What was told to survive the end of its terminal does.
    """
    survive = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, run.end)
    signal.signal(signal.SIGHUP, (lambda *_: None) if survive else run.end)


def choose(name: str, names: Sequence[str], parts: Sequence[Part]) -> list[Part]:
    """The parts of a run, in their order."""
    found = [part for part in parts if name in part.runs]
    unknown = set(names) - {part.name for part in found}
    if unknown:
        known = ", ".join(part.name for part in found)
        raise SystemExit(f"There is no part {', '.join(sorted(unknown))}. The parts of `make {name}` are: {known}")
    return [part for part in found if not names or part.name in names]


def known(parts: Sequence[Part], checkout: Checkout) -> list[Proved]:
    """What is proved of this tree already: by a proof, or by a test that is the same in both."""
    _commit, tree = checkout.tree()
    records = {name: Record(checkout.results / f"{name}.json") for name in ("proof", "test")}
    found = []
    for part in parts:
        proofs = [records["proof"].proves(part.name, tree)]
        if not part.sampled:
            proofs.append(records["test"].proves(part.name, tree))
        found += [one for one in proofs if one][:1]
    return found


def main(arguments: Sequence[str], root: Path, parts: Sequence[Part] = PARTS, **settings: Any) -> int:
    """Run the parts; the exit status."""
    name, *names = arguments
    checkout = Checkout(root)
    chosen = choose(name, names, parts)
    before = known(chosen, checkout) if name == "proof" and not settings.get("force") else []
    run = Run(name, [part for part in chosen if part.name not in {one.part for one in before}], checkout)
    for one in before:
        run.record.add(one)
    settle(run)
    began = time.monotonic()
    run.work()
    lines = ["", *table(run.proved, before), *notes(checkout, run.proved)]
    lines += [f"not run: {part.name}" for part in run.waiting]
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    good = run.good and not run.waiting
    lines.append(
        f"make {name}: {'passed' if good else 'FAILED'} in {minutes} min {seconds} s, on {os.cpu_count()} cores"
    )
    show(("\n".join(lines) + "\n").encode())
    return 128 + run.ended_by if run.ended_by else int(not good)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("test", "proof"):
        sys.exit(str(__doc__).partition("\n")[0])
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parents[1], force=bool(os.environ.get("FORCE"))))
