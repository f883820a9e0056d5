# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules that are used without the roles refuse a jurisdiction that R2 does not have, before anything is contacted."""

from __future__ import annotations

import importlib
import json
import socket
from typing import Any, NoReturn

import pytest
import yaml
from ansible.module_utils import basic

from tests.integration.examples import CONNECTION
from tests.support.running import COLLECTION, ROOT

PLUGINS = f"ansible_collections.{COLLECTION}.plugins"
# Whatever else is checked first is right, and nothing is there that could answer.
RIGHT = {
    "account_id": "0123456789abcdef0123456789abcdef", "api_token": "x" * 40, "api_url": "http://127.0.0.1:1",
    "bucket": "backup-web1", "password": "long enough",
}  # fmt: skip


def asking() -> list[str]:
    """The modules that have the option."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py")}
    return sorted(name for name, text in texts.items() if f"{COLLECTION}.cloudflare\n" in text)


def arguments(module: str) -> dict[str, Any]:
    """Those of the first example, with what is checked before a client is made put right."""
    example = yaml.safe_load(importlib.import_module(f"{PLUGINS}.modules.{module}").EXAMPLES)
    given: dict[str, Any] = next(task[f"{COLLECTION}.{module}"] for task in example if f"{COLLECTION}.{module}" in task)
    literal = {name: value for name, value in given.items() if name != "jobs" or "{{" not in str(value)}
    return {**literal, **{name: value for name, value in RIGHT.items() if name in given or name in CONNECTION}}


@pytest.mark.parametrize("module", asking())
def test_unknown_jurisdiction_is_refused_at_once(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def contact(*_: Any) -> NoReturn:
        raise AssertionError("something was contacted")

    monkeypatch.setattr(socket.socket, "connect", contact)
    given = json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments(module), "jurisdiction": "europe"}})
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", given.encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(SystemExit):
        importlib.import_module(f"{PLUGINS}.modules.{module}").main()
    answer = json.loads(capsys.readouterr().out)
    assert (
        answer["failed"] is True
        and "The jurisdiction 'europe' is not known: write one of default, eu, " in answer["msg"]
    )
