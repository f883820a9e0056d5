# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How restic is started, stopped and understood; the programs are small scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import cli as _restic
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.cli import (
    Completed,
    Repository,
    Restic,
    ResticError,
    failure,
    reason,
    stop,
)

ID = "ab" * 32
REPOSITORY = Repository(
    endpoint="https://account.example",
    bucket="backup",
    prefix="web1/",
    access_key_id="key-id",
    secret_access_key="secret-key",
    session_token="secret-token",
    password="secret-password",
    key_id=ID,
)
SECRETS = ("secret-key", "secret-token", "secret-password")


def restic(folder: Path, script: str) -> Restic:
    path = folder / "restic"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o700)
    return Restic(REPOSITORY, path=str(path), cache_dir="/cache")


def test_the_environment_is_built_from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLOUDFLARE_API_TOKEN", "RESTIC_HOST", "RESTIC_PASSWORD_FILE", "AWS_PROFILE", "LD_PRELOAD"):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    environment = Restic(REPOSITORY, cache_dir="/cache").environment()
    assert "foreign" not in environment.values()
    assert environment["https_proxy"] == "http://proxy.example"
    assert environment["PATH"] == os.environ["PATH"]
    expected = {
        "RESTIC_REPOSITORY": "s3:https://account.example/backup/web1/",
        "RESTIC_PASSWORD": "secret-password",
        "RESTIC_KEY_HINT": ID,
        "RESTIC_CACHE_DIR": "/cache",
        "AWS_ACCESS_KEY_ID": "key-id",
        "AWS_SECRET_ACCESS_KEY": "secret-key",
        "AWS_SESSION_TOKEN": "secret-token",
        "AWS_DEFAULT_REGION": "auto",
    }
    assert {name: environment.get(name) for name in expected} == expected


def test_no_secret_in_what_is_shown_of_a_repository() -> None:
    assert not [secret for secret in SECRETS if secret in repr(REPOSITORY) + str(REPOSITORY)]


@pytest.mark.parametrize(
    ("code", "stderr", "expected"),
    [
        (0, "wrong password or no key found", 0),
        (1, "Fatal: wrong password or no key found", 12),
        (1, "Fatal: unable to open config file\nIs there a repository at the following location?\ns3:x", 10),
        (1, "unable to create lock in backend: repository is already locked by PID 7", 11),
        (1, "Fatal: something else", 1),
        (12, "", 12),
        (130, "signal interrupt received, cleaning up", 130),
    ],
)
def test_exit_codes_mean_the_same_in_all_versions(code: int, stderr: str, expected: int) -> None:
    assert failure(Completed(code, "", stderr)) == expected


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        ("", "it did not say why"),
        ("noise\nFatal: the thing.\ns3:https://address\n", "Fatal: the thing"),
        ('x\n{"message_type":"exit_error","code":1,"message":"Fatal: as JSON"}\n', "Fatal: as JSON"),
        (
            (
                '{"message_type":"error","error":{"message":"pack gone"},"during":"restore","item":"/a"}\n'
                '{"message_type":"exit_error","code":1,"message":"Fatal: There were 1 errors"}\n'
            ),
            "Fatal: There were 1 errors; the first error: pack gone",
        ),
        ('{"message_type":"error","message":"damaged"}\n', "damaged"),
        (
            (
                'Stat(<config/>) returned error, retrying after 1.2s: Stat: Get "https://a/": x509: it has expired\n'
                "Stat(<config/>) returned error, retrying after 5.8s: Stat: again\nFatal: context canceled\n"
            ),
            'Fatal: context canceled; the first error: Stat: Get "https://a/": x509: it has expired',
        ),
        ('{"odd": 1}\n["x"]\n7\n', "7"),
        ("Fatal: " + "x" * 400, "Fatal: " + "x" * 293 + "…"),
        (
            "open: no such thing\nmain.open\n\tmain.go:7\nloading failed\nmain.load\n\tmain.go:9\nruntime.goexit\n\tasm.s:1771\n",
            "loading failed",
        ),
    ],
)
def test_the_reason_is_found_in_the_noise(stderr: str, expected: str) -> None:
    assert reason(Completed(1, "", stderr)) == expected


@pytest.mark.parametrize(
    ("code", "words"), [(10, "no repository"), (11, "locked by"), (12, "is wrong"), (3, "status 3")]
)
def test_a_failure_is_one_sentence_without_secrets(tmp_path: Path, code: int, words: str) -> None:
    program = restic(
        tmp_path, f'echo "Fatal: $RESTIC_PASSWORD $AWS_SECRET_ACCESS_KEY $AWS_SESSION_TOKEN" >&2; exit {code}'
    )
    with pytest.raises(ResticError) as caught:
        program.config()
    message = str(caught.value)
    assert caught.value.exit_code == code
    assert words in message and "backup/web1" in message
    assert not [secret for secret in SECRETS if secret in message]
    assert "\n" not in message


def test_a_clock_that_does_not_fit_the_certificate_is_told(tmp_path: Path) -> None:
    said = "x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:00Z is before"
    again = f"Stat(<config/>) returned error, retrying after 1.2s: Stat: tls: failed to verify certificate: {said}"
    program = restic(tmp_path, f"echo '{again}' >&2; echo 'Fatal: unable to open config file' >&2; exit 1")
    with pytest.raises(
        ResticError, match=r"Fatal: unable .*x509.*\(the clock of this machine says 2.*set it, for example"
    ):
        program.succeed(["cat", "config"])


def test_a_time_out_asks_restic_to_stop(tmp_path: Path) -> None:
    script = """trap 'echo removing my lock >&2; touch "$0.asked"; exit 130' INT
echo 'Stat(<config/>) returned error, retrying' >&2
while :; do sleep 0.05; done"""
    program = restic(tmp_path, script)
    with pytest.raises(ResticError) as caught:
        program.run(["cat"], timeout=0.5)
    assert (tmp_path / "restic.asked").exists()
    assert "had not ended after 0.5 seconds" in str(caught.value) and "removing my lock" in str(caught.value)


@pytest.mark.parametrize("command", ["version", "key_ids", "snapshots", "current_key_id"])
def test_what_reads_little_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    for name in ("version", "list", "snapshots", "key"):
        monkeypatch.setitem(_restic.SECONDS, name, 0.2)
    program = restic(tmp_path, "trap 'exit 130' INT; while :; do sleep 0.05; done")
    with pytest.raises(ResticError, match=r"had not ended after 0\.2 seconds"):
        getattr(program, command)()


def test_one_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "deaf.py"
    path.write_text(
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint(1, flush=True)\nsignal.pause()"
    )
    with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "1\n"
        stop(process, grace=0.2)
        assert process.returncode == -9


def test_what_cannot_be_confined_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResticError, match="could not be started"):
        restic(tmp_path, "true").start(["x"], preexec_fn=lambda: int("x"))


def test_an_exception_leaves_no_restic_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []
    program = restic(tmp_path, "trap 'exit 130' INT; while :; do sleep 0.05; done")

    def interrupted(process: subprocess.Popen[str], *_bounds: object) -> tuple[str, str]:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(_restic, "hear", interrupted)
    with pytest.raises(KeyboardInterrupt):
        program.run(["x"])
    assert started[0].poll() is not None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("restic 0.19.1 compiled with go1.26.4 on linux/amd64", (0, 19, 1)),
        ("restic 0.14.0 (v0.14.0-1) compiled with go1.19.8", (0, 14, 0)),
        ("restic 0.19.1-dev (compiled manually)", (0, 19, 1)),
    ],
)
def test_versions(tmp_path: Path, answer: str, expected: tuple[int, ...]) -> None:
    assert restic(tmp_path, f"echo '{answer}'").version() == expected


def test_an_old_version_is_refused_with_the_reason(tmp_path: Path) -> None:
    program = restic(tmp_path, "echo 'restic 0.18.1 compiled with go1.24'")
    program.require((0, 18, 0), "This")
    with pytest.raises(ResticError, match=r"Maintenance needs restic 0\.19\.0 or later, but .* is restic 0\.18\.1"):
        program.require((0, 19, 0), "Maintenance")


def test_a_program_that_cannot_run_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "restic"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o700)
    with pytest.raises(ResticError, match="could not be started"):
        Restic(REPOSITORY, path=str(path)).version()
    with pytest.raises(ResticError, match="was not found"):
        Restic(REPOSITORY, path=str(tmp_path / "none")).version()


def test_unreadable_snapshots_are_an_error(tmp_path: Path) -> None:
    program = restic(tmp_path, "echo '[]'; echo 'Ignoring \"abc\": failed to load snapshot' >&2")
    with pytest.raises(ResticError, match="cannot read 1 of the snapshot objects"):
        program.snapshots()
    assert program.list_snapshots() == ([], ['Ignoring "abc": failed to load snapshot'])
    assert restic(tmp_path, "echo null").snapshots() == []
    with pytest.raises(ResticError, match="did not answer with JSON"):
        restic(tmp_path, "echo hello").snapshots()


def test_the_check_is_done_again_when_the_index_changed_meanwhile(tmp_path: Path) -> None:
    script = f"""case "$1" in
list) if [ -e "$0.checked" ]; then echo {ID}; fi;;
check) if [ -e "$0.checked" ]; then exit 0; fi
  touch "$0.checked"; echo 'pack x not found' >&2; echo 'Fatal: repository contains errors' >&2; exit 1;;
esac"""
    assert restic(tmp_path, script).check() == []


def test_the_check_is_not_done_again_when_nothing_changed(tmp_path: Path) -> None:
    script = """case "$1" in
check) echo x >> "$0.checked"; echo 'pack x not found' >&2; echo 'Fatal: repository contains errors' >&2; exit 1;;
esac"""
    assert restic(tmp_path, script).check() == ["pack x not found"]
    assert (tmp_path / "restic.checked").read_text() == "x\n"


@pytest.mark.parametrize("code", [1, 11, 130])
def test_a_check_that_came_to_no_end_is_not_damage(tmp_path: Path, code: int) -> None:
    program = restic(tmp_path, f'[ "$1" = list ] || {{ echo "Fatal: connection refused" >&2; exit {code}; }}')
    with pytest.raises(ResticError) as caught:
        program.check()
    assert caught.value.exit_code == code


def test_short_key_ids_of_an_old_restic_are_completed(tmp_path: Path) -> None:
    script = f"""case "$1" in
list) echo {"0" * 64}; echo {ID};;
key) echo '[{{"current":false,"id":"00000000"}},{{"current":true,"id":"{ID[:8]}"}}]';;
esac"""
    assert restic(tmp_path, script).current_key_id() == ID


PROXY = "http://proxy.example.com:3128"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"])
def test_a_view_is_not_looked_for_through_a_proxy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the node would be asked for a socket of this machine's."""
    monkeypatch.setenv(name, PROXY)
    restic = Restic(Repository("https://s3.example.com", "backup", "", "id", "secret", None, "password"))
    assert restic.environment()[name] == PROXY
    assert name not in restic.through("/run/view").environment()
