# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the backup jobs of a host.

holdfast-restic JOB ARGUMENT...   restic with the repository and the credentials of a job, for people
holdfast-restic --backup JOB      the job itself, exactly as its timer runs it
holdfast-restic --failed JOB      what is done about a job that failed
holdfast-restic --resume          runs jobs again that were cut off, or failed, before the host went down

The units of jobs have more: --begin and --end keep notes of what runs, --relay hands restic the output of the job's command,
--ping tells the heartbeat.

It runs with rights, so it is started with `python3 -I`, and trusts no folder but those of root.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

from holdfast_host import (
    FOREIGN,
    Lock,
    Signals,
    Stop,
    begin,
    credentials,
    drop_rights,
    end,
    heartbeat_address,
    job_of,
    network,
    note,
    reading_every_file,
    restic_environment,
    say,
    settings,
    was_cut_off,
)
from holdfast_paths import EMPTY, nothing_there, options_of, pass_on, paths_of

# What programs of a job's user may know of this one's environment.
KNOWN = ("PATH", "LANG", "LC_ALL", "TZ")
# A hook of several lines ends at the first that fails: a dump that failed must not look like one that was made.
SHELL = ("sh", "-e", "-c")
NETWORK = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip


# --- Commands of a job's user ---------------------------------------------------------------------------------------------


def ask(server: socket.socket, words: Sequence[str], more: dict[str, str], stdout: int, stderr: int = 2) -> int:
    """Have holdfast-serve run a command at the other end, as the user of the job; its exit status."""
    reader, writer = os.pipe()
    try:
        request = json.dumps({"words": list(words), "environment": more}).encode() + b"\n"
        sent = socket.send_fds(server, [request], [stdout, stderr, writer])
        server.sendall(request[sent:])
    except OSError as error:
        say(f"the helper that runs the commands of this job's user is gone: {error}")
        return 1
    finally:
        os.close(writer)
    with open(reader, "rb") as file:
        answer = file.read()
    return int(answer) if answer.isdigit() else 1


class Runner:
    """Runs hooks and names the command of a job: at the other end of standard input, or, without systemd, here."""

    def __init__(self, config: dict[str, Any], job: dict[str, Any]) -> None:
        self.job = job
        self._program, self._user = config["program"], config["user"]
        self.server: Optional[socket.socket] = None
        if stat.S_ISSOCK(os.fstat(0).st_mode):
            self.server = socket.socket(fileno=os.dup(0))
            if stat.S_ISSOCK(os.fstat(1).st_mode) and os.path.samestat(os.fstat(0), os.fstat(1)):
                # systemd leaves both directions open only when it is both.
                os.dup2(2, 1)

    def hook(self, name: str, **more: Any) -> int:
        """Run a hook of the job, `before` or `after`; its exit status, 0 where there is none."""
        text = self.job.get(name)
        if not text:
            return 0
        known = {"HOLDFAST_JOB": self.job["name"], **{name: str(value) for name, value in more.items()}}
        if self.server:
            return self._served([*SHELL, text], known)
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        return subprocess.run([*self._drop(), *SHELL, text], env={**environment, **known}, check=False).returncode

    def _served(self, words: list[str], known: dict[str, str]) -> int:
        """Run a hook at the other end. Its output belongs to this unit's journal, so it must come from this one."""
        reader, writer = os.pipe()

        def pass_on() -> None:
            with open(reader, "rb") as file:
                for line in file:
                    os.write(2, line)

        passing = threading.Thread(target=pass_on, daemon=True)
        passing.start()
        status = ask(self.server, words, known, writer, writer) if self.server else 1
        os.close(writer)
        # A process that a hook has left running may go on writing.
        passing.join(timeout=5)
        return status

    def command(self) -> list[str]:
        """What restic starts to read the output of the job's command."""
        if self.server:
            relay_words = ["--relay", self.job["name"], str(self.server.fileno())]
            return [sys.executable, "-I", self._program, *relay_words]
        return [*self._drop(), *self.job["command"]]

    def _drop(self) -> list[str]:
        user = self.job.get("user") or self._user
        return ["runuser", "-u", user, "--"] if user and os.geteuid() == 0 else []

    @property
    def passed(self) -> tuple[int, ...]:
        """Descriptors that restic inherits, and its child with it."""
        return (self.server.fileno(),) if self.server and self.job.get("command") else ()


# --- The job --------------------------------------------------------------------------------------------------------------


def arguments_of(job: dict[str, Any], runner: Runner) -> list[str]:
    """restic backup's arguments for a job."""
    found = options_of(job)
    if not job.get("command"):
        return [*found, *paths_of(job)]
    name = job.get("filename") or job["name"]
    return [*found, "--stdin-filename", name, "--stdin-from-command", "--", *runner.command()]


def heartbeat(config: dict[str, Any], folder: str, job: str, suffix: str) -> None:
    """Tell the heartbeat's service, from a process without rights. It never makes a job fail."""
    try:
        with open(os.path.join(folder, "heartbeat"), encoding="utf-8") as file:
            address = heartbeat_address(file.readline().strip().replace("JOB", job, 1), suffix)
    except ValueError:
        # Its words may hold the address.
        say("the address of the heartbeat is of no use")
        address = ""
    if not address:
        return
    environment = {name: os.environ[name] for name in (*KNOWN, *NETWORK) if name in os.environ}
    subprocess.run(
        [sys.executable, "-I", config["program"], "--ping"],
        input=address.encode(),
        env={**environment, **network(config)},
        check=False,
    )


def ping() -> int:
    """Open the address on standard input: it is a secret."""
    import urllib.request

    try:
        urllib.request.urlopen(sys.stdin.readline().strip(), timeout=30).close()
    except OSError as error:
        say(f"the heartbeat was not told: {error}")
    except Exception as error:  # noqa: BLE001
        # Its words may hold the address.
        say(f"the address of the heartbeat is of no use: {type(error).__name__}")
    return 0


def remove_stale_locks(lock: Lock, restic: str, environment: dict[str, str]) -> None:
    """Only who is alone does this; see Lock."""
    if lock.take_alone():
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([restic, "unlock"], env=environment, timeout=300, check=False)
    lock.share()


def told(status: int, config: dict[str, Any]) -> str:
    """A sentence for how restic ended; none for a success."""
    sentences = {
        0: "",
        3: "a snapshot was made, but some files could not be read (see above), so this is a failure",
        10: f"there is no repository at {config['repository']}; run the site playbook on the maintenance node",
        11: f"the repository is still locked by another restic (waited {config['retry_lock']}), no snapshot was made",
        12: "the password does not open the repository, or the key id is wrong; run the site playbook again",
        EMPTY: "the excludes left nothing, so that the snapshot holds no file; mend them (allow_empty allows it)",
        **dict.fromkeys((130, 143), "interrupted, no snapshot was made"),
    }
    return sentences.get(status, f"restic failed with {status}, no snapshot can be relied on")


def backup(config: dict[str, Any], name: str, signals: Signals) -> int:
    job = job_of(config, name)
    with credentials(config) as folder:
        environment, runner, lock = restic_environment(config, folder), Runner(config, job), Lock(config)
        lock.share()
        heartbeat(config, folder, name, "/start")
        try:
            prepare(job, runner)
            if not config["systemd"]:
                begin(config, name)
            if was_cut_off(config, name):
                # It left its lock of the repository, and maintenance would wait for it for half an hour.
                remove_stale_locks(lock, config["restic"], environment)
            status = run_restic(config, Restic(job, runner, lock, environment), signals)
        except Stop as error:
            # The hooks before may have frozen or mounted something: that has to be undone all the same.
            runner.hook("after", HOLDFAST_STATUS=error.status)
            raise
        if not config["systemd"]:
            end(config, name, str(status))
        after = runner.hook("after", HOLDFAST_STATUS=status)
        if told(status, config):
            say(f"{name}: {told(status, config)}")
        elif after != 0:
            say(f"{name}: the snapshot was made, but the command after it failed with {after}")
            status = 1
        if status == 0:
            heartbeat(config, folder, name, "")
    return status


def prepare(job: dict[str, Any], runner: Runner) -> None:
    """The steps before restic; each may be a reason to make no snapshot."""
    if runner.hook("before") != 0:
        raise Stop(f"{job['name']}: the command before the backup failed, so no backup was made", 1)
    problem = "" if job.get("allow_empty") else nothing_there(job.get("paths") or [])
    if problem:
        raise Stop(f"{job['name']}: {problem}, so no backup was made (allow_empty allows it)", 1)


class Restic(NamedTuple):
    """The needs of a run of restic."""

    job: dict[str, Any]
    runner: Runner
    lock: Lock
    environment: dict[str, str]

    def run(self, words: list[str]) -> int:
        """One run; its exit status, and another one when it kept nothing."""
        with reading_every_file():
            child = subprocess.Popen(
                [*words, *arguments_of(self.job, self.runner)],
                # To a pipe, restic tells nothing of how far it is unless it is asked to.
                env={**self.environment, **({"RESTIC_PROGRESS_FPS": "0.1"} if os.isatty(1) else {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                pass_fds=self.runner.passed,
            )
        with child:
            empty = pass_on(child.stdout or (), 1)
        if child.returncode == 0 and empty and self.job.get("paths") and not self.job.get("allow_empty"):
            return EMPTY
        return child.returncode if child.returncode >= 0 else 128 - child.returncode


def run_restic(config: dict[str, Any], restic: Restic, signals: Signals) -> int:
    """Run restic, and run it again where that helps; its exit status."""
    words = [config["restic"], "backup", "--host", config["host"], "--retry-lock", config["retry_lock"]]
    runs = config["reruns"] + 1
    for number in range(1, runs + 1):
        with signals.waiting():
            status = restic.run(words)
        # 1: after an upload whose answer was lost, restic sends the object again, and the bucket lock refuses it. The
        # repository is fine, and another run succeeds. 11: the lock of a run that died is in the way.
        if status not in (1, 11) or number == runs or signals.came:
            break
        if status == 11:
            remove_stale_locks(restic.lock, config["restic"], restic.environment)
        say(f"{restic.job['name']}: restic ended with {status}, run {number + 1} of at most {runs} follows")
    return status


def failed(config: dict[str, Any], name: str, _signals: Signals) -> int:
    """Tell that a job failed. It waits for nothing, least of all for what made the job fail."""
    job_of(config, name)
    unit = f"holdfast-backup@{name}"
    say(f"backup job {name} FAILED: read 'journalctl -u {unit}', mend it, then run 'systemctl start {unit}'")
    status = 0
    if config["failure_command"]:
        # Before anything that could fail too.
        environment = {**os.environ, "HOLDFAST_JOB": name}
        status = subprocess.run(["sh", "-c", config["failure_command"]], env=environment, check=False).returncode
    with credentials(config) as folder:
        heartbeat(config, folder, name, "/fail")
    return status


def people(config: dict[str, Any], name: str, words: list[str], signals: Signals) -> int:
    job_of(config, name)
    with credentials(config) as folder:
        environment, lock = restic_environment(config, folder), Lock(config)
        lock.share()
        with signals.waiting():
            status = subprocess.run([config["restic"], *words], env=environment, check=False).returncode
    return status if status >= 0 else 128 - status


def resume(config: dict[str, Any]) -> int:
    """Run again what began before this boot. Timers do not: for them, what has begun is done."""
    for job in config["jobs"]:
        name = job["name"]
        try:
            begun = note(config, name).partition("\n")[0]
        except OSError:
            continue
        if begun != os.environ.get("HOLDFAST_BOOT", ""):
            say(f"backup job {name} was cut off, or failed, before the host went down, so it runs again now")
            subprocess.run(["systemctl", "start", "--no-block", f"holdfast-backup@{name}.service"], check=False)
    return 0


# --- Which of them --------------------------------------------------------------------------------------------------------


def relay(config: dict[str, Any], name: str, descriptor: str) -> int:
    """Started by restic: have the job's command write to restic; its exit status."""
    job = job_of(config, name)
    server = socket.socket(fileno=int(descriptor))
    return ask(server, job["command"], {"HOLDFAST_JOB": name}, 1)


def run(words: list[str], path: str) -> int:
    notes = {"--begin": begin, "--end": end}
    jobs = {"--backup": backup, "--failed": failed}
    if words == ["--ping"]:
        return ping()
    if words == ["--resume"]:
        return resume(settings(path))
    if len(words) == 3 and words[0] == "--relay":
        return relay(settings(path), *words[1:])
    if len(words) == 2 and words[0] in notes:
        return notes[words[0]](settings(path), words[1])
    if len(words) == 2 and words[0] in jobs:
        # Else programs that are started here would look for their own files in a folder of another user.
        os.chdir("/")
        return jobs[words[0]](settings(path), words[1], Signals())
    if not words or words[0].startswith("--"):
        raise Stop("which job? Use: holdfast-restic JOB ARGUMENT..., or holdfast-restic --backup JOB")
    return people(settings(path), words[0], words[1:], Signals())


def main(path: str) -> int:
    """What was asked for, with the settings in a file; the exit status."""
    drop_rights()
    os.umask(0o077)
    try:
        return run(sys.argv[1:], path)
    except Stop as error:
        say(str(error))
        return error.status
    except OSError as error:
        say(str(error))
        return 1
