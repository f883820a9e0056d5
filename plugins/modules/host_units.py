#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_units
short_description: Keep a set of systemd units on a host
version_added: 0.1.0
description:
  - Makes a host have exactly these units of a kind, in one task for all of them. Files are written, units that are gone
    are stopped and removed, systemd reads what changed, timers are enabled and started.
  - Timers among the units are enabled and started; other units are only written.
  - It goes on where a run before it was cut off. A unit whose file systemd has not read yet is read now.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  units:
    description:
      - Names of unit files, and what they hold. They belong to the user that the module runs as, and everybody may read
        them, so no secret belongs into them.
    type: dict
    required: true
  owned:
    description:
      - Patterns of names in the manner of a shell. Units in O(directory) that match one and are not in O(units) are stopped
        (timers and sockets) and removed, and their failures are forgotten. A service that runs is left to its end.
      - What a timer remembers of its last run is removed with it, so that one of the same name that comes back one day
        does not run at once.
    type: list
    elements: str
    default: []
  directory:
    description:
      - The folder of the unit files.
    type: path
    default: /etc/systemd/system
"""

EXAMPLES = r"""
- name: Write a service and its timer, and remove those of reports that are gone
  holdfast.restic_r2.host_units:
    units:
      report@daily.service: "{{ lookup('ansible.builtin.template', 'report.service.j2') }}"
      report@daily.timer: "{{ lookup('ansible.builtin.template', 'report.timer.j2') }}"
    owned: ['report@*']

- name: Remove them all
  holdfast.restic_r2.host_units:
    units: {}
    owned: ['report@*']
"""

RETURN = r"""
written:
  description:
    - Units whose file was not as it should be.
  returned: success
  type: list
  elements: str
  sample: [report@daily.timer]
removed:
  description:
    - Units that were removed.
  returned: success
  type: list
  elements: str
  sample: []
started:
  description:
    - Timers that were not both enabled and running.
  returned: success
  type: list
  elements: str
  sample: [report@daily.timer]
"""

import os
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.restic_r2.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._host_units import (
    STAMPS,
    Systemctl,
    UnitsError,
    read,
    remove,
    stale,
    timers,
)


def keep(module: AnsibleModule, path: str, content: str) -> bool:
    """Make one file hold this; whether something was to do."""
    differs = not os.path.exists(path) or read(path) != content
    if differs and module.check_mode:
        return True
    if differs:
        descriptor, partial = tempfile.mkstemp(dir=module.tmpdir)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(content)
        module.atomic_move(partial, path)
    return module.set_mode_if_different(path, "0644", False) or differs


def drop(module: AnsibleModule, systemctl: Systemctl, names: list[str]) -> None:
    """Stop and remove units."""
    if timers(names):
        systemctl.do("disable", "--now", *timers(names))
    sockets = [name for name in names if name.endswith(".socket")]
    if sockets:
        systemctl.do("stop", *sockets)
    for name in names:
        remove(os.path.join(module.params["directory"], name))
    for name in timers(names):
        remove(os.path.join(STAMPS, f"stamp-{name}"))


def apply(module: AnsibleModule) -> dict[str, Any]:
    """Files and systemd as they should be; the module's result."""
    folder, wanted = module.params["directory"], module.params["units"]
    systemctl = Systemctl(module.run_command)
    removed = stale(os.listdir(folder), module.params["owned"], wanted)
    paths = {name: os.path.join(folder, name) for name in sorted([*wanted, *removed])}
    before = {name: read(path) for name, path in paths.items()}
    if removed and not module.check_mode:
        drop(module, systemctl, removed)
    written = [name for name in sorted(wanted) if keep(module, paths[name], wanted[name])]
    states = systemctl.states(sorted(wanted))
    changed = bool(written or removed or any(state.outdated for state in states.values()))
    if changed and not module.check_mode:
        systemctl.do("daemon-reload")
        systemctl.forget_failures(removed)
    started = [name for name in timers(wanted) if not (states[name].active and states[name].enabled)]
    if started and not module.check_mode:
        systemctl.do("enable", "--now", *started)
    diff = [
        {"before_header": path, "after_header": path, "before": before[name], "after": wanted.get(name, "")}
        for name, path in paths.items()
        if name in written or name in removed
    ]
    return {
        "changed": changed or bool(started),
        "written": written,
        "removed": removed,
        "started": started,
        "diff": diff,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "dict", "required": True},
            "owned": {"type": "list", "elements": "str", "default": []},
            "directory": {"type": "path", "default": "/etc/systemd/system"},
        },
        supports_check_mode=True,
    )
    try:
        result = apply(module)
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        module.fail_json(msg=str(UnitsError(f"{error.filename} cannot be changed: {error.strerror}.")))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
