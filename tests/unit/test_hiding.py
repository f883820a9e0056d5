# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets that a module derives are hidden in the way of every ansible-core."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.running import ROOT, Ansible, link_collection

SECRET = "0badc0de" * 8
# A module that fails with its derived secret in the message, as a controller runs it.
MODULE = f"""
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.redaction import hider
module = AnsibleModule({{}})
hider(module)("{SECRET}")
module.fail_json(msg="refused: {SECRET}")
"""


def test_what_was_derived_is_not_shown(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "tells.py").write_text(MODULE, encoding="utf-8")
    link_collection()
    env = Ansible(tmp_path / "ansible").environment({"ANSIBLE_LIBRARY": str(library)})
    command = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", "tells", "-vvv"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "refused: " in done.stdout and SECRET not in done.stdout + done.stderr, done.stdout + done.stderr


def test_every_module_hides_in_this_way() -> None:
    modules = [path for path in (ROOT / "plugins").rglob("*.py") if path.name != "redaction.py"]
    assert [path.name for path in modules if "no_log_values" in path.read_text(encoding="utf-8")] == []
