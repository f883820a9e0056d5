# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that are folders of this machine, as an inventory, backed up into the stand-in. Nothing needs root."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.stand_in.client import StandIn
from tests.support.quick_restic import quick_restic


class Fleet:
    """Some hosts below one folder, and the inventory that says everything about them.

    Args:
        folder: An empty folder for hosts, records and cache.
        stand_in: Where the buckets are.
        restic_path: The restic program, for the hosts as it is; what the node initialises has a key that opens quickly.
        names: The names of the hosts.
    """

    def __init__(self, folder: Path, stand_in: StandIn, restic_path: str, names: tuple[str, ...] = ("web1",)) -> None:
        self.folder = folder
        self.stand_in = stand_in
        self.secrets = [stand_in.api_token, stand_in.secret_access_key]
        self.inventory: dict[str, Any] = {
            "holdfast": {"hosts": {name: self.new_host(name) for name in names}, "vars": self._common(restic_path)}
        }

    def new_host(self, name: str) -> dict[str, Any]:
        home = self.folder / "hosts" / name
        for part in ("bin", "data"):
            (home / part).mkdir(parents=True)
        (home / "data" / "hello").write_text(f"This is {name}.\n", encoding="utf-8")
        token = self.stand_in.create_token(name, bucket=f"backup-{name}")
        password = f"password's of {name} $HOME"
        self.secrets += [token["value"], token["secret_access_key"], password]
        return {
            "holdfast_access_key_id": token["access_key_id"],
            "holdfast_secret_access_key": token["secret_access_key"],
            "holdfast_password": password,
        }

    def _common(self, restic_path: str) -> dict[str, Any]:
        home = f"{self.folder}/hosts/{{{{ inventory_hostname }}}}"
        nobody = {f"{role}_{what}": "" for role in ("restic", "credentials", "backup") for what in ("owner", "group")}
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "ansible_become": False,
            "holdfast_account_id": self.stand_in.account_id,
            "holdfast_api_token": self.stand_in.api_token,
            "holdfast_api_url": self.stand_in.api_url,
            "holdfast_s3_endpoint": self.stand_in.s3_endpoint,
            "holdfast_record_dir": f"{self.folder}/records",
            "holdfast_cache_dir": f"{self.folder}/cache",
            "holdfast_fence_seconds": 0,
            "holdfast_restic_path": quick_restic(self.folder / "node", restic_path),
            # Snapshots of tests are some seconds old.
            "holdfast_grace": "0",
            "restic_method": "file",
            "restic_file": restic_path,
            "restic_path": f"{home}/bin/restic",
            "credentials_directory": f"{home}/etc",
            "backup_directory": f"{home}/etc",
            "backup_command": f"{home}/bin/holdfast-restic",
            "backup_cache_directory": f"{home}/cache",
            "backup_retry_lock": "5s",
            "backup_manage_systemd": False,
            "backup_jobs": [{"name": "data", "paths": [f"{home}/data"], "tags": ["data"]}],
            **nobody,
        }

    @property
    def common(self) -> dict[str, Any]:
        """Variables of all hosts."""
        return self.inventory["holdfast"]["vars"]

    def host(self, name: str) -> dict[str, Any]:
        """Variables of one host."""
        return self.inventory["holdfast"]["hosts"][name]

    def home(self, name: str) -> Path:
        """The folder that plays the host."""
        return self.folder / "hosts" / name

    def backup(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the very command that the timer would run, or other arguments of it."""
        command = [str(self.home(name) / "bin" / "holdfast-restic"), *(arguments or ("--backup", "data"))]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})

    def fill(self, name: str, number: int) -> None:
        """Change the data of the host, so that an older snapshot has something that only it needs."""
        import random

        random.seed(f"{name}/{number}")
        (self.home(name) / "data" / "blob").write_bytes(random.randbytes(300_000))
