# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the collection's modules and playbooks as a user does, apart from the machine's own Ansible settings."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import preloaded

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".cache" / "collections"
COLLECTION = "holdfast.restic_r2"
# What a developer's shell may hold and a test must not see.
FOREIGN = ("ANSIBLE_", "CLOUDFLARE_", "RESTIC_", "R2_", "AWS_")


def link_collection() -> Path:
    """Make the checkout importable as a collection; safe to call at any time by any number of processes."""
    link = COLLECTIONS / "ansible_collections" / "holdfast" / "restic_r2"
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(os.path.relpath(ROOT, link.parent))
    except FileExistsError:
        pass
    importlib.invalidate_caches()  # Python remembers of a folder that it was not there
    return COLLECTIONS


@dataclass(frozen=True)
class TaskResult:
    """What one task did on one host."""

    host: str
    task: str
    action: str
    status: str
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed"))


@dataclass(frozen=True)
class Run:
    """An ansible-playbook that has ended."""

    exit_code: int
    output: str
    results: list[TaskResult] = field(default_factory=list)
    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    def of(self, *, task: str | None = None, action: str | None = None, host: str | None = None) -> list[TaskResult]:
        """The results of the tasks whose name contains `task`, whose action is `action`, on `host`."""
        return [
            result
            for result in self.results
            if (task is None or task in result.task)
            and (action is None or result.action == action)
            and (host is None or result.host == host)
        ]

    @property
    def changed(self) -> list[TaskResult]:
        return [result for result in self.results if result.changed]

    @property
    def failed(self) -> list[TaskResult]:
        return [result for result in self.results if result.status in ("failed", "unreachable")]


class Ansible:
    """ansible-playbook and single modules, with a home of their own and no colours.

    Args:
        home: An empty folder for everything that Ansible writes.
        environment: More variables for every run.
        collections: Where the collection lies; the checkout itself unless told otherwise.
    """

    def __init__(
        self, home: Path, environment: Mapping[str, str] | None = None, collections: Path | None = None
    ) -> None:
        self.home = home
        self.collections = collections or link_collection()
        self.extra = dict(environment or {})
        self._runs = 0
        home.mkdir(parents=True, exist_ok=True)
        (home / "ansible.cfg").touch()

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of every process that is started here."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        # Else every process compiles all of the collection's code anew.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if "AWS_CA_BUNDLE" in os.environ:
            environment["AWS_CA_BUNDLE"] = os.environ["AWS_CA_BUNDLE"]
        environment.update(
            # The interpreter's own programs first: ansible-playbook must be the one of this Python.
            PATH=os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]),
            PYTHONPATH=str(self.collections),
            ANSIBLE_CONFIG=str(self.home / "ansible.cfg"),
            ANSIBLE_HOME=str(self.home / "ansible"),
            ANSIBLE_LOCAL_TEMP=str(self.home / "local"),
            ANSIBLE_REMOTE_TEMP=str(self.home / "remote"),
            ANSIBLE_COLLECTIONS_PATH=str(self.collections),
            ANSIBLE_PYTHON_INTERPRETER=sys.executable,
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_LOCALHOST_WARNING="0",
            ANSIBLE_INVENTORY_UNPARSED_WARNING="0",
            ANSIBLE_RETRY_FILES_ENABLED="0",
            ANSIBLE_CALLBACK_PLUGINS=str(ROOT / "tests" / "support" / "callback"),
            ANSIBLE_CALLBACKS_ENABLED="record",
        )
        environment.update(self.extra)
        environment.update(more or {})
        return environment

    def module(
        self,
        module: str,
        /,
        *,
        check_mode: bool = False,
        environment: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        """Run one module of the collection in a process of its own, without a playbook; its result, failed or not.

        The process has the collection loaded already, unless that is to come from elsewhere.
        """
        arguments.update(
            _ansible_check_mode=check_mode, _ansible_diff=True, _ansible_remote_tmp=str(self.home), _ansible_tmpdir=None
        )
        given, env = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), self.environment(environment)
        run = preloaded.run_module if env["PYTHONPATH"] == str(COLLECTIONS) else self._run_module
        answer = run(module, given, env)
        try:
            result = dict(json.loads(answer.stdout))
        except ValueError:
            raise AssertionError(f"{module} printed no result:\n{answer.stdout}\n{answer.stderr}") from None
        # From ansible-core 2.22 on, what a controller has to hide is told to it, and goes no further.
        result.pop("_ansible_new_secrets", None)
        return result

    def _run_module(self, module: str, given: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"ansible_collections.{COLLECTION}.plugins.modules.{module}"],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            env=env,
            timeout=preloaded.LONGEST,
        )

    def start_playbook(
        self,
        playbook: str | Path | list[dict[str, Any]],
        inventory: str | Path | Mapping[str, Any],
        *arguments: str,
        variables: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        **popen: Any,
    ) -> tuple[subprocess.Popen[str], Path]:
        """Start ansible-playbook and do not wait; the process and the file that its results go to."""
        self._runs += 1
        record = self.home / f"record-{self._runs}.jsonl"
        command = ["ansible-playbook", "-i", self._written(inventory, "inventory"), *arguments]
        if variables is not None:
            command += ["-e", "@" + self._written(variables, "variables")]
        command.append(self._written(playbook, "playbook"))
        options: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "stdin": subprocess.DEVNULL,
            "text": True,
            "cwd": self.home,
            **popen,
        }
        env = self.environment({"HOLDFAST_RECORD": str(record), **(environment or {})})
        return subprocess.Popen(command, env=env, **options), record

    def playbook(
        self,
        playbook: str | Path | list[dict[str, Any]],
        inventory: str | Path | Mapping[str, Any],
        *arguments: str,
        timeout: float = preloaded.LONGEST,
        **settings: Any,
    ) -> Run:
        """Run a playbook (a path, a name with dots, or plays as data) to its end.

        Args:
            inventory: A path, or an inventory as data.
            arguments: More arguments of ansible-playbook, for example "--check".
            settings: variables= (extra variables, by file) and environment=.
        """
        process, record = self.start_playbook(playbook, inventory, *arguments, **settings)
        with process:
            try:
                output = process.communicate(timeout=timeout)[0]
            except BaseException:
                process.kill()
                raise
        return Run(process.returncode, output, *read_record(record))

    def _written(self, content: Any, kind: str) -> str:
        if isinstance(content, (str, Path)):
            return str(content)
        path = self.home / f"{kind}-{self._runs}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        path.chmod(0o600)
        return str(path)


def read_record(path: Path) -> tuple[list[TaskResult], dict[str, dict[str, int]]]:
    """What the callback `record` wrote: the results in order, and the recap (empty when the run was killed)."""
    results: list[TaskResult] = []
    recap: dict[str, dict[str, int]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if "recap" in entry:
                recap = entry["recap"]
            else:
                results.append(TaskResult(**entry))
    return results, recap
