# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host whose owner replaced its Python: every module that runs there returns facts for every variable of this project.

The names are taken from the project's files, so that a new variable is covered by being there. The values would reach a server
or a folder of the owner's, or take something away from the repository.
"""

from __future__ import annotations

import http.server
import json
import re
import shlex
import sys
import threading
from pathlib import Path
from typing import Any

import yaml

from tests.support.running import ROOT

# A file of its own, because the first line of a script takes no path with a space in it.
WRAPPER = """#!/bin/sh
exec {python} {script} "$@"
"""
INTERPRETER = """import json, os, subprocess, sys, time
home = {home!r}
for argument in sys.argv[1:]:
    folder = os.path.dirname(argument)
    if "AnsiballZ_" in argument:
        with open(home + "/modules", "a") as log:
            log.write(os.path.basename(argument).split("_", 1)[1] + "\\n")
    for name in os.listdir(folder) if folder and os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.path.getsize(path) < 100000:
            with open(home + "/received", "ab") as log, open(path, "rb") as file:
                log.write(file.read())
while os.path.exists(home + "/silent"):
    time.sleep(0.2)
done = subprocess.run([{python!r}, *sys.argv[1:]], stdin=sys.stdin, stdout=subprocess.PIPE)
out = done.stdout
try:
    result = json.loads(out)
    with open(home + "/facts.json") as file:
        result.setdefault("ansible_facts", {{}}).update(json.load(file))
    out = json.dumps(result).encode()
except ValueError:
    pass
sys.stdout.buffer.write(out)
sys.exit(done.returncode)
"""


class Owner:
    """What the owner of the host has: the interpreter, a server that takes tokens, a folder that things would be written to.

    Args:
        home: An empty folder.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.trap = home / "trap"
        self.trap.mkdir(parents=True)
        self.requests: list[tuple[str, str, str | None]] = []
        for name in ("modules", "received"):
            (home / name).touch()
        self.node_secret = home / "of-the-node-alone"
        self.node_secret.write_text("what only the node may read\n", encoding="utf-8")
        script = home / "interpreter.py"
        script.write_text(INTERPRETER.format(python=sys.executable, home=str(home)), encoding="utf-8")
        self.interpreter = home / "python3"
        words = {"python": shlex.quote(sys.executable), "script": shlex.quote(str(script))}
        self.interpreter.write_text(WRAPPER.format(**words), encoding="utf-8")
        self.interpreter.chmod(0o755)
        self.url = self._listen()
        self.say({})

    def say(self, facts: dict[str, Any]) -> None:
        """From now on every module returns these facts."""
        (self.home / "facts.json").write_text(json.dumps(facts), encoding="utf-8")

    def answer_nothing_more(self) -> None:
        """From now on no module that runs on the host ends, before `close`."""
        (self.home / "silent").touch()

    def modules(self) -> list[str]:
        """The modules that ran on the host, in their order."""
        return (self.home / "modules").read_text(encoding="utf-8").split()

    def received(self) -> bytes:
        """All that came to the host in small files."""
        return (self.home / "received").read_bytes()

    def _listen(self) -> str:
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                owner.requests.append((self.command, self.path, self.headers.get("authorization")))
                self.rfile.read(int(self.headers.get("content-length") or 0))
                self.send_response(403)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """End the server, and modules that still run on the host."""
        (self.home / "silent").unlink(missing_ok=True)
        self._server.shutdown()
        self._server.server_close()

    def facts(self) -> dict[str, Any]:
        """A value of the owner's for every variable that the project knows."""
        options = documented_options()
        facts = {name: self._value(name, option) for name, option in options.items()}
        for name in other_names() - set(facts):
            facts[name] = self._value(name, options.get(_documented_as(name, options), {}))
        # Results that tasks register hold settings, too, under their own names and under those of roles.
        short = {name.partition("_")[2]: value for name, value in facts.items() if not name.startswith("_")}
        return {name: {**facts, **short} if name.startswith("__") else value for name, value in facts.items()}

    def _value(self, name: str, option: dict[str, Any]) -> Any:
        special = {
            "holdfast_manage_tokens": False,
            "holdfast_temporary_credentials": True,
            "restic_method": "file",
            "restic_file": str(self.node_secret),
            "repository_retention": {"keep_last": 1, "max_remove": "100%"},
            "holdfast_retention": {"keep_last": 1, "max_remove": "100%"},
            "restic_checksums": {"amd64": "0" * 64},
            "backup_jobs": [{"name": "data", "command": ["touch", f"{self.trap}/job"]}],
        }
        if name in special:
            return special[name]
        if "choices" in option:
            return next(choice for choice in option["choices"] if choice != option.get("default"))
        simple = {"bool": not option.get("default", False), "int": 1, "float": 1.0, "dict": {}}
        kind = option.get("type", "str")
        if kind in simple:
            return simple[kind]
        text = self._text(name)
        return [text] if kind == "list" else text

    def _text(self, name: str) -> str:
        if re.search(r"url|endpoint", name):
            return f"{self.url}/client/v4"
        if re.search(r"node_python|interpreter", name):
            return str(self.interpreter)
        if re.search(r"(^|_)(node|restore_to|hosts?)$", name):
            return "web1"
        if re.search(r"dir|path|file|command|cache|target|playbook", name):
            return f"{self.trap}/{name}"
        return f"owned-{name.strip('_').replace('_', '-')}"


def documented_options() -> dict[str, dict[str, Any]]:
    """Every option of every entry point of every role."""
    options: dict[str, dict[str, Any]] = {}
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        for spec in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            options.update(spec.get("options") or {})
    return options


def other_names() -> set[str]:
    """Every other variable: of defaults and vars, registered, set, read from an inventory, or of the connection."""
    names = {
        "ansible_connection", "ansible_host", "ansible_user", "ansible_python_interpreter", "ansible_become",
        "ansible_check_mode", "ansible_limit", "ansible_failed_result", "inventory_hostname", "ansible_play_hosts_all",
        "ansible_playbook_python", "hostvars", "groups", "omit", "preflight_pattern",
    }  # fmt: skip
    for path in [*(ROOT / "roles").glob("*/*/*.yml"), *(ROOT / "playbooks").glob("*.yml")]:
        text = path.read_text(encoding="utf-8")
        names.update(
            re.findall(
                r"\b(?:holdfast|repository|restic|backup|credentials|guard)_[a-z][a-z_]*\b|\b__[a-z][a-z_]*\b", text
            )
        )
        names.update(re.findall(r"^\s*register: (\w+)$", text, re.MULTILINE))
    return {name for name in names if not name.startswith("restic_r2")}


def _documented_as(name: str, options: dict[str, Any]) -> str:
    """The option that a variable of the inventory is the source of."""
    short = name.removeprefix("holdfast_")
    return next(
        (
            f"{role}_{short}"
            for role in ("repository", "backup", "credentials", "restic")
            if f"{role}_{short}" in options
        ),
        "",
    )
