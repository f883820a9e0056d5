# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What roles hand to modules that reach the account."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.restic_r2.plugins.module_utils._common.arguments import CLOUDFLARE
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._account import OPTIONS, account_options

from tests.support.running import ROOT

SETTINGS = {**dict.fromkeys(OPTIONS, ""), "no_proxy": [], "jurisdiction": "eu", "bucket": "other"}
TASKS = sorted((ROOT / "roles" / "repository" / "tasks").glob("*.yml"))


def test_what_is_set_is_handed_over_and_nothing_else() -> None:
    assert account_options({**SETTINGS, "api_token": "x"}) == {"api_token": "x", "jurisdiction": "eu"}
    assert set(OPTIONS) < set(CLOUDFLARE)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_setting_that_was_not_read_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"not read: {name}"):
        account_options({key: value for key, value in SETTINGS.items() if key != name})


def with_defaults(tasks: Any, above: bool = False) -> list[tuple[dict[str, Any], bool]]:
    """Each task, and whether it is given the options of the account."""
    found = []
    for task in tasks or ():
        given = above or "account_options" in str(task.get("module_defaults"))
        inner = [one for part in ("block", "rescue", "always") for one in task.get(part, ())]
        found += with_defaults(inner, given) if inner else [(task, given)]
    return found


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_no_task_on_a_host_is_given_the_account(path: Any) -> None:
    """The token of the account is for the maintenance node; a task that goes elsewhere names what it needs."""
    for task, given in with_defaults(yaml.safe_load(path.read_text(encoding="utf-8"))):
        elsewhere = "restore_to" in str(task.get("delegate_to"))
        assert not (given and elsewhere), task["name"]
        if elsewhere:
            arguments = next(value for key, value in task.items() if key.startswith("holdfast.restic_r2."))
            assert "api_token" not in arguments, task["name"]
