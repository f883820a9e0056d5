# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings as people write them: used as they are meant, or refused in a sentence that says what to write."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils import _setting_rules as rules
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._calendar import is_event
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._setting_names import NAMES
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._settings import contradictions, converted

ROOT = Path(__file__).resolve().parents[2]
SPECS = {
    path.parents[1].name: yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")
}
# The options of all roles, each as the first entry point describes it.
OPTIONS: dict[str, Any] = {}
for _role in SPECS.values():
    for _entry in _role.values():
        OPTIONS = {**(_entry.get("options") or {}), **OPTIONS}


def accepted(**values: Any) -> dict[str, Any]:
    result, problems = converted(values, OPTIONS)
    assert problems == []
    return result


def refused(**values: Any) -> str:
    _result, problems = converted(values, OPTIONS)
    assert len(problems) == 1, problems
    assert re.search(r": write .+\.$", problems[0]), problems[0]
    return problems[0]


def job(**values: Any) -> dict[str, Any]:
    """A job as it is used; what it holds here was written by a user."""
    return accepted(backup_jobs=[{"name": "home", **values}])["backup_jobs"][0]


def refused_job(**values: Any) -> str:
    problem = refused(backup_jobs=[{"name": "home", **values}])
    assert problem.startswith("backup_jobs, job home: "), problem
    return problem


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("paths", "/etc", ["/etc"]),
        ("paths", "/srv/my files, and yours", ["/srv/my files, and yours"]),
        ("paths", '["/etc", "/srv"]', ["/etc", "/srv"]),
        ("paths", "/srv/[a]", ["/srv/[a]"]),
        ("exclude", "*.tmp", ["*.tmp"]),
        ("exclude", "[abc]", ["[abc]"]),
        ("exclude", "", []),
        ("tags", "web", ["web"]),
        ("tags", [2024, "web"], ["2024", "web"]),
        ("tags", 7, ["7"]),
        ("command", "pg_dumpall", ["pg_dumpall"]),
        ("command", ["sleep", 5], ["sleep", "5"]),
        ("exclude_caches", "false", False),
        ("one_file_system", "yes", True),
        ("limit_upload", "4096", 4096),
        ("limit_upload", 4096.0, 4096),
        ("nice", "15", 15),
        ("exclude_files", "/etc/excludes, mine", ["/etc/excludes, mine"]),
        (
            "exclude_if_present",
            [".nobackup", "CACHEDIR.TAG:Signature: 8a"],
            [".nobackup", "CACHEDIR.TAG:Signature: 8a"],
        ),
        ("exclude_larger_than", "2G", "2G"),
        ("exclude_larger_than", 4096, "4096"),
        ("compression", "max", "max"),
        ("pack_size", "64", 64),
        ("read_concurrency", 4, 4),
        ("extra_args", "--with-atime", ["--with-atime"]),
        (
            "extra_args",
            ["--group-by=host", "--option=s3.connections=9"],
            ["--group-by=host", "--option=s3.connections=9"],
        ),
        ("exclude_pseudo_filesystems", "no", False),
        ("memory_max", 1073741824, "1073741824"),
    ],
)
def test_what_can_only_mean_one_thing_is_used_so(name: str, written: Any, meant: Any) -> None:
    found = job(**{name: written})[name]
    assert (found, type(found)) == (meant, type(meant))


def test_what_is_empty_in_a_job_is_as_if_it_was_not_written() -> None:
    assert job(paths=["/etc"], tags=None, timeout=None) == {"name": "home", "paths": ["/etc"]}


@pytest.mark.parametrize(
    ("name", "written", "told"),
    [
        ("command", "pg_dumpall --clean", '["pg_dumpall", "--clean"]'),
        ("command", {"run": "pg_dumpall"}, "a list"),
        ("paths", "/etc\n/srv", "a list"),
        ("paths", ["/etc", ["/srv", "/opt"]], "one text"),
        ("paths", ["/etc", None], "leave the entry out"),
        ("paths", ["etc"], "from / on"),
        ("paths", True, "a list"),
        ("tags", [True], "it in quotes"),
        ("tags", "web,db", "an entry for each tag"),
        ("tags", ["web", " job:other"], "write another tag"),
        ("max_age", "a day", "digits alone"),
        ("max_age", -1, "0 or more"),
        ("retention", {}, "for example {keep_daily: 7}"),
        ("hold", {"until": "2027-01-31"}, "write reason"),
        ("exclude_caches", "flase", "true or false"),
        ("limit_upload", "4 MiB", "digits alone"),
        ("limit_upload", 0.5, "digits alone"),
        ("limit_upload", True, "digits alone"),
        ("limit_upload", -1, "0 or more"),
        ("user", True, "it in quotes"),
        ("before", ["echo"], "one text"),
        ("nice", 25, "from -20 to 19"),
        ("io_weight", 0, "from 1 to 10000"),
        ("memory_max", "2GB", "write 2G."),
        ("memory_max", "2 gib", "write 2G."),
        ("memory_max", "much", "as in 2G"),
        ("cpu_quota", "50", "write 50%."),
        ("cpu_quota", 50, "write 50%."),
        ("cpu_quota", "0%", "write 50%."),
        ("timeout", "12hrs", "write 12hr."),
        ("timeout", "2 houres", "write 2hour."),
        ("timeout", "half a day", "12h"),
        ("timeout", "1h,30m", "12h"),
        ("random_delay", "1H", "write 1h."),
        ("on_calendar", "0 3 * * *", "*-*-* 03:00:00"),
        ("on_calendar", 750, "12:30"),
        ("on_calendar", "", "daily"),
        ("on_calendar", "dayly", "write daily."),
        ("on_calendar", "*-*-* 25:00", "Mon..Fri 03:00"),
        ("user", "my user", "as in postgres"),
        ("user", "root\nUser=admin", "as in postgres"),
        ("filename", "a\nb", "as in all.sql"),
        ("filename", "..", "as in all.sql"),
        ("exclude_files", "excludes", "from / on"),
        ("exclude_if_present", "/srv/.nobackup", "as in .nobackup"),
        ("exclude_larger_than", "2 GiB", "write 2G."),
        ("exclude_larger_than", "big", "as in 2G"),
        ("compression", "maximum", "max"),
        ("compression", False, "it in quotes"),
        ("pack_size", 1, "from 4 to 128"),
        ("read_concurrency", 0, "from 1 to 1000"),
        ("extra_args", ["--group-by", "host"], "--group-by=host"),
        ("extra_args", "-x", "--with-atime"),
        ("extra_args", ["--", "/etc"], "--with-atime"),
        ("extra_args", "--exclude=*.tmp", "write exclude for it."),
        ("extra_args", "--hostname=web2", "write backup_host for it."),
        ("extra_args", "--cacert=/etc/ca.pem", "write holdfast_ca_file for it."),
        ("extra_args", "--dry-run", "without it."),
    ],
)
def test_what_would_be_dropped_or_misread_is_refused_with_job_and_option(name: str, written: Any, told: str) -> None:
    problem = refused_job(**{name: written})
    assert problem.startswith(f"backup_jobs, job home: {name} ")
    assert told in problem.rpartition(": write ")[2] or told in f"write {problem.rpartition(': write ')[2]}"


@pytest.mark.parametrize(
    ("written", "meant"), [("pathes", "paths"), ("excludes", "exclude"), ("schedule", "after, allow_empty, before")]
)
def test_an_unknown_name_is_refused_with_the_nearest_one(written: str, meant: str) -> None:
    assert refused_job(**{written: "/etc"}).startswith(f"backup_jobs, job home: {written} is no setting: write ")
    assert meant in refused_job(**{written: "/etc"})
    assert "keep_daily" in refused(repository_retention={"keep_dayly": 7})


@pytest.mark.parametrize(
    "name", ["esac", "home\n", " home", "my home", "../home", "-home", "", None, "höme", "a" * 201, "home;reboot", "%i"]
)
def test_names_of_jobs_that_would_break_units_or_scripts_are_refused(name: Any) -> None:
    problem = refused(backup_jobs=[{"name": name, "paths": ["/etc"]}])
    assert "name" in problem and "\n" not in problem


def test_jobs_are_looked_at_as_a_whole() -> None:
    def state(*jobs: dict[str, Any]) -> str:
        return refused(backup_state="present", backup_jobs=list(jobs))

    assert "no backup_jobs" in state()
    assert "more than one job a:" in state({"name": "a", "paths": "/a"}, {"name": "a", "command": "b"})
    assert "neither paths nor command" in state({"name": "a"})
    assert "both paths and command" in state({"name": "a", "paths": "/a", "command": "b"})
    # Also where the host itself is not asked: each playbook would take another one of them.
    assert "more than one job a:" in refused(backup_jobs=[{"name": "a", "paths": "/a"}, {"name": "a", "paths": "/b"}])
    assert accepted(backup_state="absent", backup_jobs=[]) == {"backup_state": "absent", "backup_jobs": []}


@pytest.mark.parametrize("written", ["home", {"name": "home", "paths": ["/etc"]}, ["home"], 7])
def test_jobs_that_are_no_list_of_mappings_are_refused(written: Any) -> None:
    assert "- name: home" in refused(backup_jobs=written)


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("backup_writable_paths", "/var/dumps", ["/var/dumps"]),
        ("backup_manage_systemd", "false", False),
        ("backup_reruns", "2", 2),
        ("repository_restore_include", "/a/one,two.txt", ["/a/one,two.txt"]),
        ("repository_restore_roots", "/srv/a b", ["/srv/a b"]),
        ("repository_expected_paths", "/a,b", ["/a,b"]),
        ("repository_unlock_parts", "keys,index", ["keys", "index"]),
        ("repository_max_age", "26", 26.0),
        ("repository_retention", '{"keep_last": "3"}', {"keep_last": 3}),
        ("repository_retention", {"keep_tags": "monthly,2024"}, {"keep_tags": ["monthly,2024"]}),
        ("repository_bucket", "backup-web1", "backup-web1"),
        (
            "repository_hold",
            {"until": date(2027, 1, 31), "reason": "audit"},
            {"until": "2027-01-31", "reason": "audit"},
        ),
        ("repository_hold", {}, {}),
        ("repository_protected_snapshots", "0123abcd,4567cdef", ["0123abcd", "4567cdef"]),
        ("repository_retired_keep", "1y", "1y"),
        ("repository_account_id", "", ""),
        ("backup_retry_lock", "1h30m", "1h30m"),
    ],
)
def test_settings_of_roles_are_converted(name: str, written: Any, meant: Any) -> None:
    found = accepted(**{name: written})[name]
    assert (found, type(found)) == (meant, type(meant))


@pytest.mark.parametrize(
    ("name", "written", "told"),
    [
        ("repository_bucket", "Backup_Web1", "as in backup-web1"),
        ("repository_bucket", "ab", "3 to 63"),
        ("repository_hold", {"until": "soon", "reason": "audit"}, "write until as in '2027-01-31'"),
        ("repository_hold", {"until": "2027-01-31"}, "has no reason"),
        ("repository_hold", "{'until': datetime.date(2027, 1, 31), 'reason': 'audit'}", "the date in quotes"),
        ("repository_protected_snapshots", ["latest"], "8 to 64 hexadecimal digits"),
        ("repository_retired_keep", "0d", "no time at all"),
        ("repository_retired_keep", "soon", "no length of time"),
        ("repository_bucket", "web1\n", "as in web1"),
        ("repository_account_id", "My Account", "32 hexadecimal digits"),
        ("repository_account_id", "0123456789ABCDEF0123456789ABCDEF", "32 hexadecimal digits"),
        ("repository_fence", "nevr", "write never."),
        ("repository_fence", False, "it in quotes"),
        ("repository_unlock_parts", ["datas"], "write data."),
        ("repository_max_age", "a day", "digits alone"),
        ("repository_max_age", float("nan"), "digits alone"),
        ("repository_fence_seconds", -1, "0 or more"),
        ("backup_retry_lock", "30min", "1h30m"),
        ("backup_writable_paths", "var/dumps", "from / on"),
        ("repository_api_url", "api.example.com", "https://"),
        ("repository_retention", "keep_last=3", "names and values"),
    ],
)
def test_settings_that_nothing_would_understand_are_refused(name: str, written: Any, told: str) -> None:
    problem = refused(**{name: written})
    assert problem.startswith(f"{name} ") and told in problem


@pytest.mark.parametrize("name", ["repository_password", "credentials_password", "repository_api_token"])
@pytest.mark.parametrize("written", ["secret\n", " secret", "sec\nret", "secret\t"])
def test_secrets_that_files_would_not_keep_are_refused_and_not_shown(name: str, written: str) -> None:
    assert "sec" not in refused(**{name: written})
    assert accepted(**{name: "it's $HOME's"})[name] == "it's $HOME's"


def test_an_empty_password_is_refused() -> None:
    assert "holdfast_password" in refused(repository_password="")


def test_jobs_to_restore_are_jobs_of_the_host() -> None:
    jobs = {"backup_jobs": [{"name": "system"}, {"name": "postgresql"}]}
    assert contradictions({**jobs, "repository_restore_job": ["system"]}) == []
    assert contradictions({"repository_restore_job": []}) == []
    for wrong, write in (("postgres", "write postgresql."), ("zzz", "write one of system, postgresql.")):
        problems = contradictions({**jobs, "repository_restore_job": [wrong]})
        assert len(problems) == 1 and problems[0].startswith("repository_restore_job ") and problems[0].endswith(write)
    assert "backup_jobs" in contradictions({"repository_restore_job": ["system"]})[0]


def test_each_problem_is_told_and_none_in_more_than_one_line() -> None:
    jobs = [{"name": "a", "paths": "etc", "nice": 25}, {"name": "b", "exclude_caches": "\x1b[2J{{ x }}"}]
    _result, problems = converted({"backup_jobs": jobs, "backup_reruns": "x"}, OPTIONS)
    assert len(problems) == 4
    assert not re.search("[\x00-\x1f]|{{", "".join(problems))


def nested(options: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, option in options.items():
        yield before + name
        yield from nested(option.get("options") or {}, f"{before}{name}.")


def test_each_rule_belongs_to_an_option() -> None:
    inner = set(nested(OPTIONS))
    playbooks = {name for name in rules.RULES if name.startswith("holdfast_")}
    assert set(rules.RULES) - inner - set(OPTIONS) - playbooks == set()
    assert playbooks <= set(NAMES)


def test_each_number_and_each_path_has_a_rule() -> None:
    """A number has limits, and a relative path means another place on each machine."""
    kinds: dict[str, str] = {}

    def walk(options: dict[str, Any], before: str = "") -> None:
        for name, option in options.items():
            kind = option.get("elements", option.get("type", "str"))
            kinds[before + name] = "" if option.get("choices") or "like" in option else kind
            walk(option.get("options") or {}, f"{before}{name}.")

    walk(OPTIONS)
    for own in yaml.safe_load((ROOT / "meta" / "variables.yml").read_text(encoding="utf-8")).values():
        walk(own)
    assert [name for name, kind in kinds.items() if kind in ("int", "float", "path") and name not in rules.RULES] == []


def test_what_a_job_has_of_its_own_is_checked_to_its_ends() -> None:
    told = refused_job(retention={"keep_dialy": 7})
    assert "retention.keep_dialy is no setting: write keep_daily" in told
    assert "retention.keep_within is 'a week'" in refused_job(retention={"keep_within": "a week"})
    assert "hold.by is no setting" in refused_job(hold={"until": "2027-01-31", "reason": "audit", "by": "me"})


@pytest.mark.parametrize("role", SPECS)
def test_defaults_pass(role: str) -> None:
    defaults = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    plain = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    assert plain
    assert accepted(**plain) == plain


CALENDARS = """daily|dayly|Daily|hourly|minutely|weekly|monthly|yearly|annually|quarterly|semiannually|*:0/5|*:*/5|0/2:00
*-*-* 03:00|*-*-* 25:00|*-*-* 3:00:00|03:00|Mon 03:00|mon..fri|Mon-Fri 9:00|Mon,Wed|Mon, Wed|Monday|*-*-01|*-*~1|*-*~03/1|*-02-30
2020-01-01|01-01|1/3-01|*-1,4,7,10-1 0:0|*-*-* 10:30 UTC|10:30 Europe/Berlin|*-*-* *:*:*|*:*:0/10|00,12:00|24:00|23:60|10:30:60
10:30:15.5|10:30:15.1234567|@1234|foo|12|12:|Mon 2020-13-01|Mon..Xyz|*-*-32|*-*-0|5..3:00|9..17/2:00|9-17:00|daily UTC|daily 03:00
Mon Tue|1969-01-01|2200-01-01|2199-01-01|mon,|*-*|*|1:1:1:1|*:0/0|Sun *-*-1..7 4:00|03:00:00Z|Fri 2012-*-1,5 11:12:13|10:30 CET
weekly Europe/Berlin|0:0:0/90|0/30:00|*:0/59|*:0/60|1/13-1|10/14:00|10/13:00|10..12/3:00"""


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze to compare with")
@pytest.mark.parametrize("lines", CALENDARS.splitlines())
def test_calendar_events_are_those_of_systemd(lines: str) -> None:
    for text in lines.split("|"):
        done = subprocess.run(["systemd-analyze", "calendar", text], capture_output=True, check=False)
        assert is_event(text) == (done.returncode == 0), text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze to compare with")
@pytest.mark.parametrize(
    "text",
    [
        "12hrs",
        "12h",
        "12 hours",
        "1h30min",
        "90",
        "infinity",
        "2w",
        "1.5h",
        "12hr",
        "12H",
        "1M",
        "12h 5",
        "1h,30m",
        "",
        "5 foo",
        "h",
    ],
)
def test_durations_are_those_of_systemd(text: str) -> None:
    known = subprocess.run(["systemd-analyze", "timespan", text], capture_output=True, check=False).returncode == 0
    try:
        rules.timespan(text)
    except ValueError:
        assert not known
    else:
        assert known
