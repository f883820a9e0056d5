# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module for tests only: opens a window, says so in a file, and holds it until another file appears."""

from __future__ import annotations

import json
import os
import sys
import time
from functools import partial

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.restic_r2.plugins.module_utils._clients import Clients
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.arguments import CLOUDFLARE, S3
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import cloudflare_client
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3 as S3Client
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import endpoint
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.session import WindowSession, WindowSpec


class NoMoreCode:
    """Refuses to import what came in the archive that Ansible made for this module: it may be gone by now."""

    def find_spec(self, name: str, *_unused: object) -> None:
        if name.partition(".")[0] in ("ansible", "ansible_collections"):
            raise ImportError(f"{name} is imported too late")


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            CLOUDFLARE,
            **S3,
            bucket={"type": "str", "required": True},
            prefix={"type": "str", "default": ""},
            folder={"type": "path", "required": True},
            settings={"type": "dict", "default": {}},
            without_code={"type": "bool", "default": False},
        )
    )
    params = module.params
    clients = Clients(params, hide=module.no_log_values.add)
    folder = params["folder"]
    spec = WindowSpec(
        params["bucket"],
        params["prefix"],
        ("index", "data"),
        partial(cloudflare_client, dict(params)),
        partial(S3Client, endpoint(params), *clients.keys, bucket=params["bucket"]),
        log_path=os.path.join(folder, "log"),
        **{name: value if name == "noted_in" else float(value) for name, value in params["settings"].items()},
    )
    zips = [path for path in sys.path if path.endswith(".zip") and os.path.exists(path)]
    told = {"module": os.getpid(), "zips": zips}
    if params["without_code"]:
        for path in zips:
            os.remove(path)
        sys.meta_path.insert(0, NoMoreCode())
    try:
        with WindowSession(spec) as window:
            told["keeper"] = window.keeper_pid
            with open(os.path.join(folder, "open.new"), "w", encoding="utf-8") as file:
                json.dump(told, file)
            os.rename(os.path.join(folder, "open.new"), os.path.join(folder, "open"))
            while not os.path.exists(os.path.join(folder, "done")):
                time.sleep(0.02)
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=True, window=window.report)


if __name__ == "__main__":
    main()
