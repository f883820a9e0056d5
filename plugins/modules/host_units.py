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
  - Units that systemd would take only in part are refused before one of them is written.
  - A timer whose file changed is restarted, and one that has no next run is a failure. Where a persistent timer has missed a
    run by its new schedule, that run begins.
  - It goes on where a run before it was cut off. A unit whose file systemd has not read yet is read now.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.full
options:
  units:
    description:
      - Names and contents of unit files. They belong to the user that the module runs as, and every user of the host
        may read them, so no secret belongs into them.
    type: dict
    required: true
  owned:
    description:
      - Patterns of names in the manner of a shell. Units in O(directory) that match one and are not in O(units) are stopped
        (timers and sockets) and removed, and their failures are forgotten. A service that runs is left to its end.
      - The time of a timer's last run is removed with it, so that a new timer of the same name does not run at
        once.
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
    - Timers that were not both enabled and running, or that were restarted.
  returned: success
  type: list
  elements: str
  sample: [report@daily.timer]
"""

import os
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.errors import HoldfastError
from ..module_utils._hosts.units import (
    STAMPS,
    Systemctl,
    UnitsError,
    calendar_timers,
    complaints,
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
    """Stop and remove units. systemd may never have heard of them, or may not have been able to read them."""
    states = systemctl.states([name for name in names if name.endswith((".timer", ".socket"))])
    active = [name for name, state in states.items() if state.active]
    if active:
        systemctl.do("stop", *active)
    if timers(names):
        systemctl.do("disable", *timers(names))
    for name in names:
        remove(os.path.join(module.params["directory"], name))
    for name in timers(names):
        remove(os.path.join(STAMPS, f"stamp-{name}"))


def refuse_wrong(module: AnsibleModule, units: dict[str, str]) -> None:
    """Have systemd itself read the units, in a folder of their own."""
    analyze = module.get_bin_path("systemd-analyze")
    if not units or not analyze:
        return
    folder = tempfile.mkdtemp(dir=module.tmpdir)
    paths = [os.path.join(folder, name) for name in sorted(units)]
    for path in paths:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(units[os.path.basename(path)])
    _status, said, errors = module.run_command([analyze, "verify", "--man=no", *paths])
    wrong = complaints(f"{said}\n{errors}", folder)
    if wrong:
        raise UnitsError(f"Nothing was changed, for systemd would not take {'; '.join(wrong)}.")


def run_timers(systemctl: Systemctl, units: dict[str, str], written: list[str], write: bool) -> list[str]:
    """Enable and start timers, and restart those that changed or stand still; which."""
    states, calendars = systemctl.states(timers(units)), calendar_timers(units)
    started = [name for name, state in states.items() if not (state.active and state.enabled)]
    restarted = [name for name in calendars if name not in started and (name in written or states[name].elapsed)]
    if not write:
        return sorted(started + restarted)
    if started:
        systemctl.do("enable", "--now", *started)
    if restarted:
        systemctl.do("restart", *restarted)
    still = [name for name, state in systemctl.states(calendars).items() if state.elapsed]
    if still:
        raise UnitsError(f"{', '.join(still)} would never run again: change the time at which it runs (OnCalendar=).")
    return sorted(started + restarted)


def apply(module: AnsibleModule) -> dict[str, Any]:
    """Files and systemd as they should be; the module's result."""
    folder, desired = module.params["directory"], module.params["units"]
    systemctl = Systemctl(module.run_command)
    removed = stale(os.listdir(folder), module.params["owned"], desired)
    paths = {name: os.path.join(folder, name) for name in sorted([*desired, *removed])}
    before = {name: read(path) for name, path in paths.items()}
    refuse_wrong(module, {name: text for name, text in desired.items() if before[name] != text})
    if removed and not module.check_mode:
        drop(module, systemctl, removed)
    written = [name for name in sorted(desired) if keep(module, paths[name], desired[name])]
    states = systemctl.states(sorted(desired))
    changed = bool(written or removed or any(state.outdated for state in states.values()))
    if changed and not module.check_mode:
        systemctl.do("daemon-reload")
        systemctl.forget_failures(removed)
    started = run_timers(systemctl, desired, written, not module.check_mode)
    diff = [
        {"before_header": path, "after_header": path, "before": before[name], "after": desired.get(name, "")}
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
