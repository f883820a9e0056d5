# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs of the job templates in examples/awx/configure.yml, with the inventory and the credentials that AWX would give them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader

from tests.awx.fake.rules import render
from tests.support.fleet import Fleet
from tests.support.running import ROOT, Ansible, Run

PROJECT = ROOT / "examples" / "awx"
DIST = ROOT / ".cache" / "dist"
# What the credentials and the project's group_vars say, and the inventory must not.
FROM_CREDENTIALS = {"holdfast_access_key_id", "holdfast_secret_access_key", "holdfast_password"}
FROM_ENVIRONMENT = {"holdfast_account_id", "holdfast_api_token", "holdfast_api_url"}


def install_collection(path: Path) -> Path:
    """Install the built collection as a project sync does; the collections path."""
    archives = list(DIST.glob("*.tar.gz"))
    assert len(archives) == 1, "run `make build`"
    command = ["ansible-galaxy", "collection", "install", "--offline", "-p", str(path), str(archives[0])]
    subprocess.run(
        command, check=True, capture_output=True, env=Ansible(path.parent / "galaxy", collections=path).environment()
    )
    return path


def configured() -> tuple[dict[str, Any], dict[str, Any]]:
    """From configure.yml: the job templates by name, and the injectors by type of credential."""
    play = DataLoader().load_from_file(str(PROJECT / "configure.yml"))[0]
    templates = {template["name"]: template for template in play["vars"]["awx_job_templates"]}
    kinds = [task["awx.awx.credential_type"] for task in play["tasks"] if "awx.awx.credential_type" in task]
    injectors = {kind["name"]: json.loads(json.dumps(kind["injectors"])) for kind in kinds}
    return templates, injectors


class Job:
    """Runs the jobs of one project.

    Args:
        folder: Has the project in "project"; everything else goes there too.
        fleet: The hosts, whose secrets become a credential.
        collections: The collections path.
    """

    def __init__(self, folder: Path, fleet: Fleet, collections: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.fleet = fleet
        self.templates, self.injectors = configured()
        stand_in = fleet.stand_in
        self.ansible = Ansible(folder / "ansible", {"CLOUDFLARE_API_BASE_URL": stand_in.api_url}, collections)
        self.tokens = {
            "Holdfast lock token": stand_in.api_token,
            "Holdfast site token": stand_in.create_token("awx-site", write=True)["value"],
            "Holdfast read token": stand_in.create_token("awx-read", write=False)["value"],
        }
        self.messages = {"notify": "", "heartbeat": ""}
        fleet.secrets += self.tokens.values()
        self._write_inventory()

    def _write_inventory(self) -> None:
        common = {name: value for name, value in self.fleet.common.items() if name not in FROM_ENVIRONMENT}
        hosts = {}
        for name, variables in self.fleet.inventory["holdfast"]["hosts"].items():
            hosts[name] = {**common, **{key: value for key, value in variables.items() if key not in FROM_CREDENTIALS}}
        text = yaml.safe_dump({"holdfast": {"hosts": hosts}})
        (self.project / "inventory" / "hosts.yml").write_text(text, encoding="utf-8")

    def import_inventory(self) -> str:
        """What AWX stores of the inventory: variables with their templates, read without any credential."""
        command = ["ansible-inventory", "-i", "inventory/hosts.yml", "--list", "--export"]
        environment = self.ansible.environment()
        return subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=self.project, env=environment
        ).stdout

    def inventory_script(self) -> Path:
        """The inventory as a job gets it: a script that prints what is stored."""
        script = self.folder / "hosts"
        if not script.exists():
            script.write_text(f"#!/usr/bin/env python3\nprint({self.import_inventory()!r})\n", encoding="utf-8")
            script.chmod(0o700)
        return script

    def credentials(self, template: str) -> dict[str, str]:
        """The environment of a job, after its credentials' files were written."""
        passwords = {
            name: {key.removeprefix("holdfast_"): variables[key] for key in sorted(FROM_CREDENTIALS)}
            for name, variables in self.fleet.inventory["holdfast"]["hosts"].items()
        }
        environment: dict[str, str] = {}
        for credential in self.templates[template]["credentials"]:
            if credential in self.tokens:
                inputs = {"account_id": self.fleet.stand_in.account_id, "api_token": self.tokens[credential]}
                injectors = self.injectors["Holdfast Cloudflare token"]
            elif credential == "Holdfast repositories":
                inputs, injectors = {"repositories": yaml.safe_dump(passwords)}, self.injectors[credential]
            elif credential == "Holdfast messages":
                inputs, injectors = self.messages, self.injectors[credential]
            else:
                continue
            variables, files = render(injectors, inputs, str(self.folder))
            environment.update(variables)
            for path, content in files.items():
                Path(path).write_text(content, encoding="utf-8")
                Path(path).chmod(0o600)
        return environment

    def run(self, template: str, survey: Mapping[str, Any] | None = None, *, fails: bool = False) -> Run:
        """Run the job of a template."""
        found = self.templates[template]
        run = self.ansible.playbook(
            self.project / f"{found.get('playbook', template)}.yml",
            "localhost," if found.get("inventory") == "Holdfast node" else self.inventory_script(),
            variables={**found.get("extra_vars", {}), **(survey or {})},
            environment=self.credentials(template),
        )
        assert (run.exit_code != 0) is fails, run.output
        return run

    @staticmethod
    def table(run: Run) -> list[str]:
        """The rows of the table at the end."""
        return list(run.of(task="Show the table")[-1].result["msg"][1:])
