# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a site has beside its hosts: an account at the stand-in, an inventory, a vault, a maintenance node."""

from __future__ import annotations

import copy
import json
import os
import secrets
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.stand_in.client import StandIn
from tests.support.hosts import BED_ADDRESS, BootedHosts, Host
from tests.support.quick_restic import quick_restic
from tests.support.running import Ansible, Run


def hour_in(hours: int) -> str:
    """The hour of the day, such as `03`, that begins so many hours from now, or less than an hour before."""
    return f"{datetime.now(UTC) + timedelta(hours=hours):%H}"


# Jobs begin when a test says so: whatever the hour at which the tests run, their timers are hours away from it.
UNTIL_TIMERS = 11
CALENDAR = f"*-*-* {hour_in(UNTIL_TIMERS)}:00:00"
JOBS: list[dict[str, Any]] = [
    {"name": "system", "paths": ["/etc", "/srv"]},
    {"name": "home", "paths": ["/home"], "tags": ["people"]},
]
COLLECTION = "holdfast.restic_r2"


class Site:
    """Provisions and maintains the hosts of a fleet, as a user would.

    Args:
        restic: For the hosts as it is; what the maintenance node initialises has a key that opens quickly.
        node: The folder of the maintenance node.
        account_folder: Where the stand-in keeps what it holds.
    """

    def __init__(self, fleet: BootedHosts, stand_in: StandIn, restic: str, node: Path, account_folder: Path) -> None:
        self.fleet = fleet
        self.stand_in = stand_in
        self.restic = restic
        self.node = node
        self.account_folder = account_folder
        self.ansible = Ansible(node / "ansible", {"ANSIBLE_REMOTE_TEMP": "~/.ansible/tmp", "ANSIBLE_PIPELINING": "1"})
        # The node and the hosts know the service under one address, as they know R2; the API is the node's alone.
        self.endpoint = f"http://{BED_ADDRESS}:{urlsplit(stand_in.url).port}"
        self.common: dict[str, Any] = {
            "holdfast_account_id": stand_in.account_id,
            "holdfast_api_token": stand_in.api_token,
            "holdfast_api_url": stand_in.api_url,
            "holdfast_s3_endpoint": self.endpoint,
            "holdfast_restic_path": quick_restic(node / "bin", restic),
            # Snapshots of tests are some seconds old.
            "holdfast_grace": "0",
            "holdfast_record_dir": str(node / "records"),
            "holdfast_cache_dir": str(node / "cache"),
            "holdfast_fence_seconds": 0,
            "restic_method": "file",
            "restic_file": restic,
            "backup_jobs": copy.deepcopy(JOBS),
        }
        self.hosts: dict[str, dict[str, Any]] = {host.name: self._host_variables(host.name) for host in fleet}

    def restart_stand_in(self) -> None:
        """Start the stand-in again where it was, after it was killed."""
        old = self.stand_in
        new = StandIn.start(self.account_folder, host="0.0.0.0", port=urlsplit(old.url).port or 0)
        # Whoever holds the old one now has the new one.
        old.__dict__.update(new.__dict__)

    def _host_variables(self, name: str) -> dict[str, Any]:
        token = self.stand_in.create_token(name, bucket=self.bucket(name))
        return {
            "holdfast_access_key_id": token["access_key_id"],
            "holdfast_secret_access_key": token["secret_access_key"],
            "holdfast_password": "password-" + secrets.token_hex(12),
        }

    @staticmethod
    def bucket(name: str) -> str:
        """The bucket that a host gets by default."""
        return f"backup-{name}"

    def secrets(self) -> list[str]:
        """Everything that may never be seen anywhere."""
        found = [self.stand_in.api_token, self.stand_in.secret_access_key]
        for name, variables in self.hosts.items():
            found += [self.keys(name)["secret_access_key"], variables["holdfast_password"]]
        return found

    def keys(self, name: str) -> dict[str, str]:
        """The S3 keys of a host: those of the inventory, or those that are kept beside its record."""
        names = ("access_key_id", "secret_access_key")
        if "holdfast_access_key_id" in self.hosts[name]:
            return {key: self.hosts[name][f"holdfast_{key}"] for key in names}
        kept = json.loads((self.node / "records" / self.bucket(name) / "host_keys.json").read_text(encoding="utf-8"))
        return {key: kept[key] for key in names}

    def play(
        self,
        playbook: str | list[dict[str, Any]],
        *arguments: str,
        user: str = "root",
        hosts: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Run:
        """Run a playbook of the collection (its short name) or plays.

        Args:
            extra: Extra variables, as from the command line.
            more: Variables of all hosts in the inventory.
        """
        name = f"{COLLECTION}.{playbook}" if isinstance(playbook, str) else playbook
        inventory = self._inventory(more, hosts, user)
        return self.ansible.playbook(name, inventory, *arguments, environment=environment, variables=extra)

    def start(self, playbook: str) -> tuple[subprocess.Popen[str], Path]:
        """Start a playbook of the collection, and do not wait for it."""
        return self.ansible.start_playbook(f"{COLLECTION}.{playbook}", self._inventory())

    def _inventory(
        self,
        more: Mapping[str, Any] | None = None,
        hosts: Mapping[str, Mapping[str, Any]] | None = None,
        user: str = "root",
    ) -> dict[str, Any]:
        common = {**self.common, **(more or {})}
        common["backup_jobs"] = [{"on_calendar": CALENDAR, **job} for job in common["backup_jobs"]]
        return self.fleet.inventory(common, self.hosts if hosts is None else hosts, user=user)

    def provision(self, *arguments: str, **settings: Any) -> Run:
        """Run the site playbook, which must succeed."""
        run = self.play("site", *arguments, **settings)
        assert run.exit_code == 0, run.output
        return run

    def environment(self, name: str) -> dict[str, str]:
        """What restic needs to open the repository of a host, from the maintenance node."""
        return {
            **os.environ,
            "RESTIC_REPOSITORY": f"s3:{self.endpoint}/{self.bucket(name)}",
            "RESTIC_PASSWORD": self.hosts[name]["holdfast_password"],
            "RESTIC_CACHE_DIR": str(self.node / "cache"),
            "AWS_ACCESS_KEY_ID": self.stand_in.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.stand_in.secret_access_key,
            "AWS_DEFAULT_REGION": "auto",
        }

    def snapshots(self, host: Host, tag: str | None = None) -> list[dict[str, Any]]:
        """The snapshots in the repository of a host, oldest first."""
        argv = [self.restic, "--no-lock", "--json", "snapshots", *(["--tag", tag] if tag else [])]
        done = subprocess.run(argv, env=self.environment(host.name), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return sorted(json.loads(done.stdout) or [], key=lambda snapshot: str(snapshot["time"]))

    def restic_run(self, host: Host, *arguments: str) -> str:
        """restic on the repository of a host, from the maintenance node; it must succeed."""
        done = subprocess.run(
            [self.restic, *arguments], env=self.environment(host.name), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout
