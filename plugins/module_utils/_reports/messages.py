# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends messages about runs, by the library Apprise, and heartbeats: addresses that are asked for when a run starts and ends.

A message that cannot be sent is kept beside the journal, and sent after the next run. Addresses hold passwords: no message,
error or file has one.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from ansible.module_utils.urls import open_url

from .._common.dates import format_date, parse_date
from .._common.errors import HoldfastError
from .._common.private_file import read_private, write_private

try:
    apprise: Any = importlib.import_module("apprise")
except ImportError:
    apprise = None

UNSENT = "unsent.json"
# How many messages are kept, and for how long.
_MOST_KEPT, _KEPT = 20, timedelta(days=14)
# What ansible-playbook ends with: where a host failed, 2.
_EXIT_STATUS = {"ok": 0, "failed": 2}
_HEARTBEAT_SECONDS = 10
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}(?=://)", re.IGNORECASE)

Send = Callable[[str, str, str], bool]


class MessageError(HoldfastError):
    """Messages are set up, and cannot be sent as things are."""


@dataclass(frozen=True)
class Outcome:
    """What became of messages: how many were sent, how many wait, and what went wrong in sentences."""

    sent: int
    kept: int
    problems: list[str]


def refuse_unusable(urls: Iterable[str]) -> None:
    """Raise MessageError where an address cannot be used, before anything is done."""
    for number, url in enumerate(urls, 1):
        if apprise is None:
            raise MessageError(
                "holdfast_notify has addresses, but the maintenance node has no library Apprise: install it for the "
                "Python of the node (Debian: apprise; pip install apprise), or leave holdfast_notify empty."
            )
        with _Silence():
            known = apprise.Apprise().add(url)
        if not known:
            raise MessageError(f"{_named(number, url)} is no address that Apprise knows: see its documentation.")


def send(url: str, title: str, body: str) -> bool:
    """Send one message to one address; whether that was possible."""
    with _Silence():
        try:
            service = apprise.Apprise()
            return bool(
                service.add(url) and service.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
            )
        except Exception:  # noqa: BLE001 - services of many authors; what they raise may hold the address
            return False


def deliver(
    folder: str,
    urls: list[str],
    message: Mapping[str, str] | None,
    now: datetime | None = None,
    post: Send = send,
) -> Outcome:
    """Send what waits from before, then the message, each to every address that has not had it.

    Args:
        folder: Where messages wait.
        urls: The addresses.
        message: Title and body; None where there is nothing new to tell.
        now: The clock of this machine.
        post: Sends one.
    """
    now = now or datetime.now(timezone.utc)
    known = {_digest(url): (number, url) for number, url in enumerate(urls, 1)}
    waiting = [one for one in _load(folder) if _young(one, now)]
    if message and urls:
        waiting.append({**message, "at": format_date(now.replace(microsecond=0)), "to": list(known)})
    sent, left, failed = 0, [], {}
    for one in waiting:
        late = "" if one is waiting[-1] and message else f"Late, from {one['at']}: "
        to = []
        for digest in [digest for digest in one["to"] if digest in known]:
            # An address that has just failed is not tried again for each message that waits.
            if digest not in failed and post(known[digest][1], late + one["title"], one["body"]):
                sent += 1
            else:
                failed[digest] = known[digest]
                to.append(digest)
        if to:
            left.append({**one, "to": to})
    problems = [f"{_named(*one)} did not take a message; it is kept for the next run." for one in failed.values()]
    kept = left[-_MOST_KEPT:]
    return Outcome(sent, len(kept), problems + _save(folder, kept))


def heartbeat(url: str, run: str, run_id: str, state: str, body: str = "") -> str:
    """Ask for the address of a heartbeat; why that failed, or nothing.

    Args:
        url: The address; RUN in it is the kind of run.
        run: The kind of run.
        run_id: Of the run.
        state: "start", "ok" or "failed".
        body: The last lines of the run.
    """
    parts = urlsplit(url.replace("RUN", run))
    path = parts.path.rstrip("/") + {"start": "/start", "ok": "", "failed": "/fail"}[state]
    query = "&".join(filter(None, [parts.query, urlencode({"rid": run_id})]))
    if state in _EXIT_STATUS:
        body = f"{body}\nexit status {_EXIT_STATUS[state]}".lstrip()
    try:
        open_url(
            urlunsplit(parts._replace(path=path, query=query)),
            data=body.encode("utf-8", "replace"),
            method="POST",
            timeout=_HEARTBEAT_SECONDS,
            headers={"Content-Type": "text/plain; charset=utf-8"},
        ).close()
    except Exception as error:  # noqa: BLE001 - the message of an error may hold the address
        return f"The heartbeat ({parts.scheme}) could not be sent: {type(error).__name__}."
    return ""


class _Silence:
    """Apprise logs addresses."""

    def __enter__(self) -> None:
        self.before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)

    def __exit__(self, *_error: object) -> None:
        logging.disable(self.before)


def _named(number: int, url: str) -> str:
    """An address, by its place in the list and its kind."""
    scheme = _SCHEME.match(url)
    return f"Entry {number} of holdfast_notify ({scheme[0] if scheme else 'without a scheme'})"


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _young(one: Mapping[str, Any], now: datetime) -> bool:
    at = parse_date(one["at"])
    return at is not None and now - at < _KEPT


def _load(folder: str) -> list[dict[str, Any]]:
    path = os.path.join(folder, UNSENT)
    try:
        found = json.loads(read_private(path))
    except (FileNotFoundError, ValueError):
        return []
    except OSError as error:
        raise MessageError(f"{path} cannot be read: {error.strerror}.") from error
    wanted = {"at", "to", "title", "body"}
    return [one for one in found if isinstance(one, dict) and wanted <= one.keys()] if isinstance(found, list) else []


def _save(folder: str, kept: list[dict[str, Any]]) -> list[str]:
    path = os.path.join(folder, UNSENT)
    try:
        if kept or os.path.exists(path):
            write_private(path, json.dumps(kept).encode())
    except OSError as error:
        return [f"{path} cannot be written, so that messages that were not sent are lost: {error.strerror}."]
    return []
