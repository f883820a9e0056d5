# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The programs that run jobs, started as a unit starts them, with a repository in a folder and without systemd."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest

from tests.support.running import ROOT

FILES = ROOT / "roles" / "backup" / "files"
PASSWORD = "a password"


@dataclass
class Jobs:
    """A host's settings and programs below a folder."""

    home: Path
    config: dict[str, Any]

    def write(self, *jobs: dict[str, Any], **more: Any) -> None:
        self.config.update(more, jobs=list(jobs))
        (self.home / "settings.json").write_text(json.dumps(self.config))

    def run(self, *words: str, stdin: Any = subprocess.DEVNULL, **environment: str) -> subprocess.CompletedProcess[str]:
        """The program, as the unit of a job starts it."""
        return subprocess.run(
            [sys.executable, "-I", str(self.home / "holdfast-restic"), *words],
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **environment},
            timeout=120,
        )

    def served(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The same, with the program at the other end that runs the commands of the job's user."""
        ours, theirs = socket.socketpair()
        serve = [sys.executable, "-I", str(FILES / "holdfast_serve.py")]
        with ours, theirs, subprocess.Popen(serve, stdin=theirs, env={"PATH": os.environ["PATH"]}) as server:
            theirs.close()
            done = self.run(*words, stdin=ours, **environment)
            ours.close()
            assert server.wait(60) == 0
        return done

    def restic(self, *words: str) -> str:
        environment = {"RESTIC_REPOSITORY": self.config["repository"], "RESTIC_PASSWORD": PASSWORD}
        argv = [self.config["restic"], *words, "--no-cache"]
        return subprocess.run(
            argv, env={**os.environ, **environment}, check=True, capture_output=True, text=True
        ).stdout

    def snapshots(self) -> int:
        return len(json.loads(self.restic("snapshots", "--json")))


def await_file(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.05)


@pytest.fixture
def jobs(tmp_path: Path, restic_path: str) -> Jobs:
    found = prepared(tmp_path, restic_path)
    found.restic("init")
    return found


def prepared(tmp_path: Path, restic_path: str) -> Jobs:
    """A host with a folder to back up, and without a repository."""
    etc = tmp_path / "etc"
    etc.mkdir(parents=True)
    for name, content in (("s3", ""), ("password", PASSWORD), ("key_id", "\n"), ("heartbeat", "\n")):
        (etc / name).write_text(content)
    templates = jinja2.Environment()
    templates.filters["comment"] = lambda text: f"# {text}"
    program = templates.from_string((FILES.parent / "templates" / "program.j2").read_text())
    places = {"library": str(FILES), "settings": str(tmp_path / "settings.json")}
    (tmp_path / "holdfast-restic").write_text(program.render(__backup_set=places))
    cache = str(tmp_path / "cache")
    config = {
        "program": str(tmp_path / "holdfast-restic"),
        "directory": str(etc),
        "repository": str(tmp_path / "repository"),
        "restic": restic_path,
        "host": "web1",
    }
    config.update(retry_lock="5s", reruns=0, lock_wait=1, failure_command="", cache=cache, jobs_cache=cache, user="")
    config.update(proxy="", no_proxy=[], ca_file="")
    found = Jobs(tmp_path, {**config, "notes": str(tmp_path / "notes"), "systemd": False})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("kept\n")
    return found


@pytest.mark.long
def test_a_command_at_the_other_end_is_backed_up(jobs: Jobs) -> None:
    jobs.write({"name": "said", "command": ["sh", "-c", "echo ${RESTIC_REPOSITORY-none} $HOLDFAST_JOB; echo hm >&2"]})
    done = jobs.served("--backup", "said")
    assert done.returncode == 0, done.stderr
    assert "hm" in done.stderr
    assert jobs.restic("dump", "latest", "/said") == "none said\n"


@pytest.mark.long
@pytest.mark.parametrize("text", ["echo half; exit 3", "echo half; kill -9 $$", "nosuch-program"])
def test_a_failed_command_makes_no_snapshot(jobs: Jobs, text: str) -> None:
    jobs.write({"name": "said", "command": ["sh", "-c", text] if " " in text else [text]})
    for run in (jobs.served, jobs.run):
        done = run("--backup", "said")
        assert done.returncode == 1, done.stderr
        assert jobs.snapshots() == 0


@pytest.mark.long
def test_the_other_end_goes_before_the_command_ends(jobs: Jobs) -> None:
    jobs.write({"name": "said", "command": ["sh", "-c", "echo half; kill -9 $PPID"]})
    ours, theirs = socket.socketpair()
    serve = [sys.executable, "-I", str(FILES / "holdfast_serve.py")]
    with ours, theirs, subprocess.Popen(serve, stdin=theirs):
        theirs.close()
        assert jobs.run("--backup", "said", stdin=ours).returncode == 1
    assert jobs.snapshots() == 0


@pytest.mark.long
@pytest.mark.parametrize("served", [True, False])
def test_hooks(jobs: Jobs, served: bool) -> None:
    run = jobs.served if served else jobs.run
    words = {
        "before": "echo it begins with ${AWS_SHARED_CREDENTIALS_FILE-nothing}",
        "after": "echo ended $HOLDFAST_STATUS",
    }
    jobs.write({"name": "around", "paths": [str(jobs.home / "data")], **words})
    done = run("--backup", "around")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "it begins with nothing" in said and "ended 0" in said
    jobs.write(
        {"name": "refused", "paths": ["/srv"], "before": "exit 4"},
        {"name": "bad", "paths": [str(jobs.home / "data")], "after": "exit 5"},
    )
    refused = run("--backup", "refused")
    assert refused.returncode == 1 and "so no backup was made" in refused.stderr
    assert jobs.snapshots() == 1
    bad = run("--backup", "bad")
    assert bad.returncode == 1 and "the command after it failed with 5" in bad.stderr
    assert jobs.snapshots() == 2


@pytest.mark.long
@pytest.mark.parametrize("served", [True, False])
def test_hooks_of_several_lines_end_at_the_first_failure_and_what_comes_after_runs_whatever_happened(
    jobs: Jobs, served: bool
) -> None:
    data = [str(jobs.home / "data")]
    jobs.write({"name": "half", "paths": data, "before": "false\necho dumped", "after": "echo ended $HOLDFAST_STATUS"})
    done = (jobs.served if served else jobs.run)("--backup", "half")
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "so no backup was made" in said
    assert "dumped" not in said and "ended 1" in said
    assert jobs.snapshots() == 0


@pytest.mark.long
def test_a_job_that_finds_nothing_makes_no_snapshot(jobs: Jobs) -> None:
    (jobs.home / "disk" / "mount").mkdir(parents=True)
    (jobs.home / "link").symlink_to(jobs.home / "data")
    data, disk, link = (str(jobs.home / name) for name in ("data", "disk", "link"))
    jobs.write(
        {"name": "disk", "paths": [disk]},
        {"name": "link", "paths": [data, link], "after": "echo ended $HOLDFAST_STATUS"},
        {"name": "meant", "paths": [disk, link], "allow_empty": True},
        {"name": "both", "paths": [data, disk]},
        {"name": "gone", "paths": [f"{disk}/gone"]},
    )
    empty, lone = jobs.run("--backup", "disk"), jobs.run("--backup", "link")
    assert empty.returncode == 1 and f"there is not a single file in {disk}" in empty.stderr
    assert lone.returncode == 1 and f"{link} is a link" in lone.stderr and "ended 1" in lone.stdout
    assert jobs.run("--backup", "gone").returncode != 0 and jobs.snapshots() == 0
    assert [jobs.run("--backup", name).returncode for name in ("meant", "both")] == [0, 0]


@pytest.mark.long
def test_a_job_whose_excludes_leave_nothing_fails(jobs: Jobs) -> None:
    """Only restic can tell; so the snapshot is there, and the job says so."""
    data, notes = str(jobs.home / "data"), str(jobs.home / "patterns")
    (jobs.home / "patterns").write_text("*\n")
    (jobs.home / "data" / "folder").mkdir()
    by = {
        "pattern": {"exclude": ["*"]},
        "file": {"exclude_files": [notes]},
        "size": {"exclude_larger_than": "1"},
        "mark": {"exclude_if_present": ["file"], "exclude": ["file"]},
    }
    jobs.write(*({"name": name, "paths": [data], **more} for name, more in by.items()), reruns=1)
    for count, name in enumerate(by, 1):
        done = jobs.run("--backup", name)
        assert done.returncode == 65 and "the excludes left nothing" in done.stderr, (name, done.stderr)
        assert "processed 0 files" in done.stdout and "follows" not in done.stderr
        assert jobs.snapshots() == count
    jobs.write(
        {"name": "meant", "paths": [data], "exclude": ["*"], "allow_empty": True, "after": "echo $HOLDFAST_STATUS"}
    )
    assert jobs.run("--backup", "meant").returncode == 0


@pytest.mark.long
def test_options_of_a_job_reach_restic(jobs: Jobs) -> None:
    data = jobs.home / "data"
    (data / "skipped").mkdir()
    for name, content in (("large", "x" * 3000), ("note.tmp", ""), ("skipped/.nobackup", ""), ("skipped/lost", "")):
        (data / name).write_text(content)
    (jobs.home / "my patterns").write_text("*.tmp\n")
    options = {
        "exclude_files": [str(jobs.home / "my patterns")],
        "exclude_if_present": [".nobackup"],
        "exclude_larger_than": "2K",
        "compression": "max",
        "pack_size": 64,
        "read_concurrency": 1,
        "tags": ["one"],
        "limit_upload": 100000,
        "one_file_system": True,
        "extra_args": ["--with-atime", "--tag=two"],
    }
    jobs.write({"name": "data", "paths": [str(data)], **options})
    done = jobs.run("--backup", "data")
    assert done.returncode == 0, done.stderr
    assert {line.rpartition("/")[2] for line in jobs.restic("ls", "latest", str(data)).splitlines()[1:]} >= {
        "file",
        "skipped",
    }
    listed = jobs.restic("ls", "latest", "--recursive", str(data))
    assert not any(name in listed for name in ("large", "note.tmp", "lost"))
    snapshot = json.loads(jobs.restic("snapshots", "--json"))[0]
    assert snapshot["tags"] == ["job:data", "one", "two"]


def words_of(job: dict[str, Any], mounts: Path) -> list[str]:
    script = "import json, sys; from holdfast_paths import options_of, paths_of\n"
    script += "job = json.loads(sys.argv[1]); print(json.dumps([*options_of(job), *paths_of(job, sys.argv[2])]))"
    argv = [sys.executable, "-c", script, json.dumps(job), str(mounts)]
    return json.loads(subprocess.run(argv, cwd=FILES, capture_output=True, text=True, check=True).stdout)


def test_pseudo_file_systems_are_left_out_unless_they_are_named(tmp_path: Path) -> None:
    mounts = {
        "/": "ext4", "/proc": "proc", "/sys/fs/cgroup": "cgroup2", "/dev/shm": "tmpfs", "/tmp": "tmpfs", "/mnt": "tmpfs",
        "/mnt/disk": "xfs", "/var/a\\040[b": "tmpfs", "/data": "autofs",
    }  # fmt: skip
    (tmp_path / "mounts").write_text("".join(f"1 1 0:1 / {at} rw - {kind} none rw\n" for at, kind in mounts.items()))
    job: dict[str, Any] = {"name": "all", "paths": ["/"]}

    def excluded(**more: Any) -> list[str]:
        words = words_of({**job, **more}, tmp_path / "mounts")
        return [word.partition("=")[2] for word in words if word.startswith("--exclude=")]

    always = ["/dev/*", "/proc/*", "/run/*", "/sys/*"]
    assert sorted(excluded()) == sorted([*always, "/tmp/*", "/var/a \\[b/*"])
    assert excluded(exclude_pseudo_filesystems=False) == []
    assert excluded(paths=["/etc", "/tmp", "/dev/shm/", "/var/"]) == ["/var/a \\[b/*"]
    assert "/run/*" not in excluded(paths=["/", "/run/secret"])


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a file system")
def test_a_mounted_tmpfs_is_left_out_and_its_folder_stays(jobs: Jobs) -> None:
    data = jobs.home / "data"
    (data / "memory").mkdir()
    jobs.write({"name": "data", "paths": [str(data)]})
    mount = 'mount -t tmpfs none "$1" && echo gone >"$1/gone" && shift && exec "$@"'
    words = [sys.executable, "-I", str(jobs.home / "holdfast-restic"), "--backup", "data"]
    argv = ["unshare", "--mount", "sh", "-c", mount, "sh", str(data / "memory"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    listed = jobs.restic("ls", "latest").splitlines()
    assert str(data / "memory") in listed and str(data / "memory" / "gone") not in listed


@pytest.mark.parametrize(
    ("address", "start", "success", "fail"),
    [
        ("https://h.example/K/web1-JOB", "https://h.example/K/web1-home/start", "https://h.example/K/web1-home",
         "https://h.example/K/web1-home/fail"),
        ("https://h.example/JOB/?rid=7", "https://h.example/home/start?rid=7", "https://h.example/home/?rid=7",
         "https://h.example/home/fail?rid=7"),
        ("https://h.example/K?status=up&msg=OK", "", "https://h.example/K?status=up&msg=OK",
         "https://h.example/K?status=down&msg=OK"),
        ("", "", "", ""),
    ],
)  # fmt: skip
def test_addresses_of_the_heartbeat(address: str, start: str, success: str, fail: str) -> None:
    script = "import sys; from holdfast_host import heartbeat_address as of\n"
    script += "print(*(of(sys.argv[1], s) for s in sys.argv[2:]), sep='|')"
    words = [sys.executable, "-c", script, address.replace("JOB", "home"), "/start", "", "/fail"]
    done = subprocess.run(words, cwd=FILES, capture_output=True, text=True, check=True)
    assert done.stdout == "|".join((start, success, fail)) + "\n"


@pytest.mark.long
def test_an_address_that_makes_no_sense_fails_no_backup(jobs: Jobs) -> None:
    jobs.write({"name": "data", "paths": [str(jobs.home / "data")]})
    (jobs.home / "etc" / "heartbeat").write_text("http://[JOB\n")
    done = jobs.run("--backup", "data")
    assert done.returncode == 0 and "of no use" in done.stderr and "[data" not in done.stderr


@pytest.mark.long
def test_a_job_that_is_stopped_ends_what_its_user_runs(jobs: Jobs) -> None:
    """It ends in another unit, which systemd does not stop with this one."""
    started = jobs.home / "started"
    jobs.write(
        {
            "name": "slow",
            "paths": ["/srv"],
            "before": f"echo $$ >{started}.new; mv {started}.new {started}; exec sleep 600",
        }
    )
    ours, theirs = socket.socketpair()
    serve = [sys.executable, "-I", str(FILES / "holdfast_serve.py")]
    words = [sys.executable, "-I", str(jobs.home / "holdfast-restic"), "--backup", "slow"]
    with ours, theirs, subprocess.Popen(serve, stdin=theirs) as server:
        theirs.close()
        with subprocess.Popen(words, stdin=ours, stderr=subprocess.PIPE, text=True) as job:
            ours.close()
            try:
                await_file(started)
                job.terminate()
                assert job.wait(60) == 143
            finally:
                job.kill()
            assert job.stderr is not None and "interrupted" in job.stderr.read()
        assert server.wait(60) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(int(started.read_text()), 0)
    assert jobs.snapshots() == 0


@pytest.mark.long
def test_who_holds_the_lock_delays_a_job_for_a_bounded_time_and_a_failure_not_at_all(jobs: Jobs) -> None:
    jobs.write({"name": "data", "paths": [str(jobs.home / "data")]}, failure_command="echo heard $HOLDFAST_JOB")
    assert jobs.run("--backup", "data").returncode == 0
    lock = jobs.home / "cache" / "lock"
    assert lock.stat().st_mode & 0o777 == 0o600
    with open(lock, encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        held = jobs.run("--backup", "data")
        assert held.returncode == 1 and "has held" in held.stderr
        failed = jobs.run("--failed", "data")
        assert (failed.returncode, failed.stdout) == (0, "heard data\n")


@pytest.mark.long
def test_nothing_is_imported_from_where_it_runs(jobs: Jobs) -> None:
    for name in ("urllib", "json", "usercustomize", "sitecustomize"):
        (jobs.home / f"{name}.py").write_text("raise SystemExit('imported')")
    jobs.write({"name": "data", "paths": [str(jobs.home / "data")]})
    (jobs.home / "etc" / "heartbeat").write_text("http://127.0.0.1:9/JOB\n")
    done = jobs.run("--backup", "data", PYTHONPATH=str(jobs.home))
    assert done.returncode == 0 and "imported" not in done.stdout + done.stderr, done.stderr
    assert "the heartbeat was not told" in done.stderr


@pytest.mark.long
def test_notes(jobs: Jobs) -> None:
    jobs.write({"name": "data", "paths": [str(jobs.home / "data")]}, {"name": "link", "paths": ["/x"]}, systemd=True)
    assert jobs.run("--begin", "data", HOLDFAST_BOOT="one").returncode == 0
    notes = jobs.home / "notes"
    (notes / "link").symlink_to("/proc/kmsg")
    os.mkfifo(notes / "fifo")
    (jobs.home / "systemctl").write_text('#!/bin/sh\necho "$@"')
    (jobs.home / "systemctl").chmod(0o755)
    for boot, expected in (("one", ""), ("two", "start --no-block holdfast-backup@data.service\n")):
        assert jobs.run("--resume", HOLDFAST_BOOT=boot, PATH=f"{jobs.home}:/usr/bin:/bin").stdout == expected
    assert jobs.run("--begin", "data", HOLDFAST_BOOT="two").returncode == 0
    assert (notes / "data").read_text() == "two\nagain"
    assert jobs.run("--begin", "link").returncode == 1
    assert jobs.run("--end", "data", EXIT_STATUS="1").returncode == 0 and (notes / "data").exists()
    assert jobs.run("--end", "data", EXIT_STATUS="3").returncode == 0 and not (notes / "data").exists()
