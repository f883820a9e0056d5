# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic_drill with the real restic: its proofs, what a command can do, what each fault says, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tracemalloc
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._actions.drill_folder import drill_folder, wipe
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.drill_sandbox import NOBODY, Limits, run

from tests.stand_in.client import StandIn
from tests.support.recipes import recipe
from tests.support.repositories import Bed, looks, program, without_summary
from tests.support.running import Ansible
from tests.support.waiting import wait_for

NOW = datetime.now(timezone.utc)


@dataclass
class Drills:
    bed: Bed
    files: Path
    folder: Path

    def __call__(self, job: str = "data", **more: Any) -> dict[str, Any]:
        jobs = [{"name": "data", "paths": [str(self.files)]}, {"name": "other", "paths": ["/nowhere"]}]
        options = {"job": job, "jobs": jobs, "folder": str(self.folder), "time": NOW.isoformat(), **more}
        answer = self.bed.module("restic_drill", **options)
        assert [one.name for one in self.folder.glob("*")] == [], "something of the drill stays behind"
        return answer

    def command(self, script: str, **more: Any) -> dict[str, Any]:
        return self(command=["sh", "-c", script], **more)


@pytest.fixture(name="drill", scope="module")
def fixture_drill(shared_stand_in: StandIn, restic_path: str, tmp_path_factory: pytest.TempPathFactory) -> Drills:
    home = tmp_path_factory.mktemp("drills")
    bed = Bed(shared_stand_in, Ansible(home / "ansible"), restic_path, home, prefix="web1/")
    bed.initialise()
    files = home / "files"
    (files / "deep" / "er").mkdir(parents=True)
    (files / "notes").write_text(f"-- Dump completed on {NOW:%Y-%m-%d %H:%M:%S}\n", encoding="utf-8")
    (files / "closed").mkdir(mode=0o500)
    (files / "link").symlink_to("/etc/shadow")
    for number in range(20):
        (files / "deep" / f"{number:02}").write_bytes(os.urandom(20_000))
    with sqlite3.connect(files / "shop.sqlite") as base:
        base.execute("CREATE TABLE goods AS SELECT 1 AS id")
    bed.backup(files, "--tag=job:data")
    return Drills(bed, files, home / "scratch")


@pytest.mark.long
def test_the_newest_snapshot_is_restored_and_proved(drill: Drills, tmp_path: Path) -> None:
    bed = drill.bed
    record = bed.record_dir / bed.bucket / "web1"
    record.mkdir(parents=True)
    looking, place = looks(tmp_path, bed.options["restic_path"], "drill", record)
    expect = [{"path": f"{drill.files}/deep/*", "count": 20, "size": 400_000}]
    done = drill(expect=expect, restic_path=looking, record_dir=str(bed.record_dir))
    assert json.loads(place.read_text())["step"] == "judging what the snapshot lists"
    assert list(record.iterdir()) == []
    assert done["ok"] and done["changed"] and not done["sample"], done
    assert (done["proved_by"], done["all_files"]) == ("restic restore --verify", 22)
    assert done["bytes"] == done["all_bytes"] > 400_000
    assert done["bytes_per_second"] > 0 and done["all_seconds"] is not None


@pytest.mark.long
def test_a_sample_keeps_to_its_bound_and_is_another_one_by_another_seed(drill: Drills) -> None:
    one, same, other = (drill(bytes=100_000, seed=seed) for seed in ("a", "a", "b"))
    assert one["ok"] and one["sample"] and 40_000 <= one["bytes"] <= 100_000
    assert (same["bytes"], same["files"]) == (one["bytes"], one["files"])
    # So little does not tell how long all of it would take.
    assert one["bytes_per_second"] > 0 and one["all_seconds"] is None
    assert other["ok"]
    assert "more than the 100000" in drill.command("true", bytes=100_000)["msg"]
    assert "no file of 3 bytes or less" in drill(bytes=3)["msg"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ({"path": "/nothing/*"}, "0 files fit /nothing/*, and 1 are expected."),
        ({"path": "*/deep/*", "count": 21}, "20 files fit */deep/*, and 21 are expected."),
        ({"path": "*/notes", "size": 1000}, "bytes, and 1000 are expected."),
        ({"path": "*/link"}, "0 files fit */link"),
        ({"path": "*/deep/*", "max_age": "1d", "dated": "Dump completed on (.*)"}, "holds a date"),
        ({"path": "*", "dated": "("}, "is no regular expression"),
    ],
)
def test_what_is_expected_and_not_there_is_told(drill: Drills, expect: dict[str, Any], told: str) -> None:
    failed = drill(expect=[expect])
    assert failed["failed"] and told in failed["msg"], failed["msg"]


def test_a_dump_says_itself_how_old_it_is(drill: Drills) -> None:
    dated = {"path": "*/notes", "dated": r"Dump completed on ([-0-9]+ [:0-9]+)", "max_age": "1d"}
    assert drill(expect=[dated])["ok"]
    late = drill(expect=[dated], time=(NOW + timedelta(days=2)).isoformat())
    assert "over 1d ago" in late["msg"]
    assert "still to come" in drill(expect=[dated], time=(NOW - timedelta(days=3)).isoformat())["msg"]


def test_the_command_reads_and_writes_the_tree_and_sees_nothing_else(drill: Drills) -> None:
    secret = drill.bed.home / "secret"
    secret.write_text("s3cr3t", encoding="utf-8")
    tree = f"/restored{drill.files}"
    script = f"""
        test -s {tree}/notes && echo more >> {tree}/notes && touch {tree}/deep/new "$HOME/new"
        for path in {secret} {drill.bed.home} /root /home /etc/shadow /var/lib /run/systemd; do
            cat {tree}/link 2>/dev/null || cat "$path" 2>/dev/null || ls "$path" 2>/dev/null && echo "reads $path"
        done
        touch /usr/new /etc/new /new 2>/dev/null && echo writes
        cat /proc/net/dev 2>/dev/null | grep -v -e 'lo:' -e '|' && echo network
        env | grep -e PASS -e AWS -e SECRET -e RESTIC
        cp /bin/true /tmp/run && /tmp/run 2>/dev/null && echo runs
        test "$(id -u)" = 0 && echo root
        true"""
    done = drill.command(script)
    assert done["ok"], done
    assert done["command"]["said"] == ""


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo no good; exit 3", "The command failed with exit status 3: no good."),
        ("exec no-such-program", "exit status 127"),
        ("kill -9 $$", "exit status 137"),
        ("yes | head -c 1000000; exit 1", "exit status 1"),
        ("head -c 300000000 /dev/zero | tail -n 1 | wc -c; exit 9", "exit status 9"),
    ],
)
def test_a_command_that_fails_is_told(drill: Drills, script: str, told: str) -> None:
    failed = drill.command(script, memory=64 << 20)
    assert failed["failed"] and told in failed["msg"] and not failed["ok"], failed["msg"]
    assert len(failed["msg"]) < 2000


def test_the_memory_that_all_of_a_command_uses_is_not_taken_from_others(tmp_path: Path) -> None:
    for name in ("tree", "work"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, *((NOBODY, NOBODY) if os.geteuid() == 0 else (-1, -1)))
    script = "cat /proc/self/oom_score_adj; head -c 100000000 /dev/zero > /dev/shm/more && echo much"
    ended = run(["sh", "-c", script], str(tmp_path / "tree"), str(tmp_path / "work"), Limits(60, 64 << 20))
    assert ended.said.splitlines()[0] == "1000" and "much" not in ended.said, ended


@pytest.mark.long
def test_a_command_that_hangs_is_ended_with_all_that_it_started(drill: Drills) -> None:
    name = f"sleep 9{os.getpid()}"
    failed = drill.command(f"setsid {name} & {name} & wait", seconds=15)
    assert failed["failed"] and ("its time was over" in failed["msg"] or "was ended by its time limit" in failed["msg"])
    assert name not in subprocess.run(["ps", "ax"], capture_output=True, text=True, check=True).stdout


def test_a_job_without_a_snapshot_and_one_with_other_paths_are_told(drill: Drills) -> None:
    assert "has no snapshot of job other" in drill("other")["msg"]
    moved = [{"name": "data", "paths": ["/srv"]}]
    assert "does not have the paths of the job" in drill(jobs=moved)["msg"]


def test_a_snapshot_of_no_files_is_told(drill: Drills) -> None:
    empty = drill.bed.home / "empty"
    empty.mkdir(exist_ok=True)
    drill.bed.backup(empty, "--tag=job:empty")
    failed = drill("empty", jobs=[{"name": "empty", "paths": [str(empty)]}])
    assert "holds no file" in failed["msg"]


def test_a_full_disk_is_told_before_and_while_it_is_restored(drill: Drills, tmp_path: Path, restic_path: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m,mode=700", "none", disk], check=False).returncode:
        pytest.skip("this machine mounts nothing")
    try:
        drills = Drills(drill.bed, drill.files, disk)
        assert "MiB free, and the drill needs" in drills()["msg"]
        # A snapshot that holds more than it says: restic would go on, and no other run could write there meanwhile.
        subprocess.run(["mount", "-o", "remount,size=230m", disk], check=True)
        fill = 'case $one in --target=*) yes | head -c 200000000 > "${one#--target=}/fill";; esac'
        hanging = f"""for one in "$@"; do {fill}; done; echo '{{"message_type":"status"}}'; exec sleep 600"""
        filling = program(tmp_path / "fills", f"""[ "$1" = restore ] && {{ {hanging}; }}\nexec '{restic_path}' "$@" """)
        assert "was full before" in drills(restic_path=filling, seconds=60)["msg"]
    finally:
        subprocess.run(["umount", disk], check=True)
    broken = program(
        tmp_path / "full",
        f"""[ "$1" = restore ] && {{ echo 'no space left' >&2; exit 1; }}\nexec '{restic_path}' "$@" """,
    )
    assert "no space left" in drill(restic_path=broken)["msg"]


def test_a_drill_that_is_killed_leaves_nothing_after_the_next_one(drill: Drills) -> None:
    drill.folder.mkdir(mode=0o700, exist_ok=True)
    left = drill.folder / "drill-dead"
    deep = left / "tree"
    for _number in range(300):
        deep = deep / "a-folder"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    os.chmod(left / "tree", 0)
    assert drill()["ok"]


def test_the_folder_of_a_drill_at_work_is_not_touched_and_that_of_others_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "drills"
    with drill_folder(str(root)) as one:
        with drill_folder(str(root)) as other:
            assert one != other
        assert os.path.isdir(one) and not os.path.exists(other)
    root.chmod(0o755)
    with pytest.raises(Exception, match="closed to others"), drill_folder(str(root)):
        pass


def test_folders_above_that_of_drills_are_closed_whatever_the_umask(tmp_path: Path) -> None:
    """Downloads of restic go there too, and are refused where others could write."""
    previous = os.umask(0o002)
    try:
        with drill_folder(str(tmp_path / "holdfast" / "drills")):
            pass
    finally:
        os.umask(previous)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("holdfast", "holdfast/drills")] == [0o700, 0o700]


def test_a_tree_that_is_deeper_than_any_path_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "drill"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _number in range(60):
        os.mkdir("x" * 200, dir_fd=here)
        inside = os.open("x" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inside
    os.close(here)
    wipe(str(top))
    assert not top.exists()


@pytest.mark.long
def test_a_tree_of_many_folders_is_removed_without_a_list_of_them(tmp_path: Path) -> None:
    top = tmp_path / "drill"
    for number in range(3000):
        (top / "wide" / f"{number:05}" / "inside").mkdir(parents=True)
        (top / f"{number:05}").mkdir(mode=0o000)
    tracemalloc.start()
    try:
        wipe(str(top))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not top.exists() and peak < 200_000, peak


@pytest.mark.sample(of="stories")
def test_sigterm_ends_a_drill_and_removes_its_folder(drill: Drills) -> None:
    """The signal comes while the command runs."""
    options = {
        **drill.bed.options, "job": "data", "jobs": [{"name": "data", "paths": [str(drill.files)]}], "folder": str(drill.folder),
        "time": NOW.isoformat(), "command": ["sleep", "300"], "_ansible_remote_tmp": str(drill.bed.home), "_ansible_tmpdir": None,
    }  # fmt: skip
    module = "ansible_collections.holdfast.restic_r2.plugins.modules.restic_drill"
    with subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=drill.bed.ansible.environment(),
    ) as process:
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
        process.stdin.close()
        process.stdin = None
        wait_for(lambda: list(drill.folder.glob("drill-*/work")), "the command runs")
        process.terminate()
        said = process.communicate(timeout=60)[0]
    assert "was ended by SIGTERM" in said
    assert list(drill.folder.glob("*")) == []


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="sqlite3 is not on this machine")
def test_the_recipe_for_sqlite(drill: Drills) -> None:
    command = [
        word.replace("./srv/shop/copy.sqlite", f".{drill.files}/shop.sqlite") for word in recipe("SQLite")["command"]
    ]
    assert drill(command=command)["ok"]
    other = [word.replace("goods", "orders") for word in command]
    assert "no such table: orders" in drill(command=other)["msg"]


def made_by(drill: Drills, name: str, script: str) -> bytes:
    """The dump that a script makes with a server that is thrown away."""
    work, tree = (drill.bed.home / f"{name}-{part}" for part in ("work", "tree"))
    for folder in (work, tree):
        folder.mkdir()
        os.chown(folder, NOBODY, NOBODY)
    made = run(["sh", "-euc", script], str(tree), str(work), Limits(120, 2 << 30))
    assert made.status == 0, made
    return (work / "all.sql").read_bytes()


def loaded(drill: Drills, heading: str, dump: bytes, rows: bytes) -> None:
    """A dump is loaded by the command of the page, and one that was cut before the rows of its table is not."""
    told = {}
    for state, content in (("whole", dump), ("cut", dump[: dump.index(rows)])):
        name = f"{heading.lower()}-{state}"
        source = drill.bed.home / "dumps" / name
        source.mkdir(parents=True)
        (source / "all.sql").write_bytes(content)
        command = [f"cd .{source}", *recipe(heading)["command"][2:]]
        drill.bed.backup(source, f"--tag=job:{name}")
        jobs = [{"name": name, "paths": [str(source)]}]
        told[state] = drill(name, jobs=jobs, command=["sh", "-euc", "\n".join(command)])
    assert told["whole"]["ok"], told
    assert not told["cut"]["ok"] and "exit status 1" in told["cut"]["msg"], told


# Makes what pg_dumpall makes on a host, with a server that is thrown away.
DUMP = """
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
initdb --pgdata=/tmp/cluster --username=postgres --auth=trust --no-sync >/tmp/said
pg_ctl --pgdata=/tmp/cluster --wait --log=/tmp/log \\
    --options="-c listen_addresses='' -c unix_socket_directories=/tmp -c fsync=off" start >/tmp/said
psql --host=/tmp --username=postgres --quiet --command='CREATE DATABASE shop' postgres
psql --host=/tmp --username=postgres --quiet --command='CREATE TABLE goods AS SELECT 1 AS id' shop
pg_dumpall --host=/tmp --username=postgres >/tmp/all.sql
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
    reason="root and PostgreSQL are not on this machine",
)
@pytest.mark.proof
def test_the_recipe_for_postgresql(drill: Drills) -> None:
    """A dump of the real pg_dumpall is loaded by the command of the page, and one that was cut is not."""
    loaded(drill, "PostgreSQL", made_by(drill, "postgresql", DUMP), b"COPY public.goods")


# Begins a server as the page does, and makes what mariadb-dump makes on a host.
MARIADB = """
mariadb --no-defaults --socket=/tmp/socket -e 'CREATE DATABASE shop; CREATE TABLE shop.goods AS SELECT 1 AS id'
mariadb-dump --no-defaults --socket=/tmp/socket --all-databases >/tmp/all.sql
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump"))),
    reason="root and MariaDB (Debian: mariadb-server-core, mariadb-client) are not on this machine",
)
@pytest.mark.proof
def test_the_recipe_for_mariadb(drill: Drills) -> None:
    """A dump of the real mariadb-dump is loaded by the command of the page, and one that was cut is not."""
    start = recipe("MariaDB")["command"][2].partition("mariadb --no-defaults")[0]
    loaded(drill, "MariaDB", made_by(drill, "mariadb", start + MARIADB), b"INSERT INTO `goods`")


@pytest.mark.long
def test_a_snapshot_without_a_summary_in_format_1(
    shared_stand_in: StandIn, ansible: Ansible, restic_path: str, tmp_path: Path
) -> None:
    """As restic before 0.14 makes repositories, and before 0.17 snapshots: sizes come from the files themselves."""
    bed = Bed(shared_stand_in, ansible, restic_path, tmp_path, prefix="old/")
    bed.initialise(version=1)
    files = tmp_path / "files"
    files.mkdir()
    for number in range(3):
        (files / str(number)).write_bytes(os.urandom(10_000))
    without_summary(bed, bed.backup(files, "--tag=job:data"))
    (snapshot,) = bed.restic.snapshots()
    assert "summary" not in snapshot and json.loads(bed.restic.succeed(["cat", "config"]).stdout)["version"] == 1
    done = Drills(bed, files, tmp_path / "scratch")()
    assert done["ok"] and (done["all_files"], done["all_bytes"], done["bytes"]) == (3, 30_000, 30_000), done
