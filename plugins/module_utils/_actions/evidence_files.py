# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes down what the journal proves of a period, and signs it.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .._common.errors import HoldfastError
from .._common.untrusted import shown
from .._page.evidence import evidence, period_of
from .._page.render import evidence_page
from .._reports.journal import RunJournal
from .report import replace_file

FOLDER, NAMESPACE = "evidence", "holdfast-evidence"
_PATIENCE = 60


class SignatureError(HoldfastError):
    """Nothing could be signed."""


@dataclass(frozen=True)
class Proof:
    """The files of a period."""

    changed: bool
    html: str
    data: str
    signatures: list[str]


def write_evidence(
    record_dir: str,
    report_dir: str,
    period: str,
    templates: Mapping[str, str],
    *,
    key: str = "",
    mode: int = 0o640,
    now: datetime | None = None,
    check: bool = False,
) -> Proof:
    """Write a page and a file of data of a period. Where they are there and would say the same, they stay, with their signatures.

    Args:
        period: As `period_of` takes it.
        key: The file of a private key of OpenSSH, or of a public one whose private key an agent holds; empty for no signature.

    Raises:
        HoldfastError: The period is none, the journal cannot be read, or something cannot be written or signed.
    """
    span = period_of(period)
    journal = RunJournal(record_dir)
    data = evidence(_lines(journal), span, now or datetime.now(timezone.utc), _chain(journal))
    base = os.path.join(report_dir, FOLDER, span.name)
    names = {"html": f"{base}.html", "json": f"{base}.json"}
    signatures = [f"{name}.sig" for name in names.values()] if key else []
    fresh = _without_time(_there(names["json"])) != _without_time(data) or not os.path.exists(names["html"])
    unsigned = [name for name in signatures if fresh or not os.path.exists(name)]
    if not check:
        if fresh:
            _remove(f"{name}.sig" for name in names.values())
            replace_file(
                names["json"], (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace"), mode
            )
            replace_file(names["html"], evidence_page(data, templates).encode("utf-8", "replace"), mode)
        for name in unsigned:
            _sign(name.removesuffix(".sig"), key)
            os.chmod(name, mode)
    return Proof(fresh or bool(unsigned), names["html"], names["json"], signatures)


def _lines(journal: RunJournal) -> Iterator[dict[str, Any]]:
    for _place, raw in journal.lines():
        with suppress(ValueError, RecursionError):
            line = json.loads(raw)
            if isinstance(line, dict):
                yield line


def _chain(journal: RunJournal) -> dict[str, Any]:
    told = journal.check().told()
    return {name: told[name] for name in ("files", "lines", "hash", "broken", "torn")}


def _there(path: str) -> dict[str, Any]:
    with suppress(OSError, ValueError), open(path, encoding="utf-8") as stream:
        data = json.load(stream)
        if isinstance(data, dict):
            return data
    return {}


def _without_time(data: Mapping[str, Any]) -> dict[str, Any]:
    """All that is said of the period, whenever it was told, and however long the journal is by now."""
    said = json.loads(json.dumps({name: value for name, value in data.items() if name != "made"}))
    for name in ("files", "lines", "hash"):
        said.get("journal", {}).pop(name, None)
    return dict(said)


def _sign(path: str, key: str) -> None:
    # It would ask for a passphrase where there is a terminal, and wait for ever.
    environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}
    command = ["ssh-keygen", "-Y", "sign", "-f", key, "-n", NAMESPACE, path]
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=_PATIENCE, env=environment,
            start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SignatureError(
            "Nothing was signed: there is no ssh-keygen on the node (OpenSSH 8.0 or newer)."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SignatureError(f"Nothing was signed: ssh-keygen did not end within {_PATIENCE} seconds.") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["nothing"]
        raise SignatureError(f"{path} was written and not signed: ssh-keygen said: {shown(said[0], 300)}")


def _remove(names: Iterator[str]) -> None:
    """Signatures of what is replaced."""
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(name)
