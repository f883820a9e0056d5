# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls to Cloudflare's API: token, envelope, retries, the rate limit, and the server's clock.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, NamedTuple, Protocol
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

from ansible.module_utils import urls

from .._common.arguments import API_URL
from .._common.clock import unlimited
from .._common.network import with_clock
from .errors import CloudflareError, Request, Throttled, Unreachable, error_of
from .places import checked_jurisdiction

# What a caller waits for all tries of one call together, in seconds.
RETRY_TIMEOUT = 30.0
# Longer than the API's block of 300 s.
BLOCK_TIMEOUT = 400.0
# The longest that the API may ask a caller to wait.
LONGEST_WAIT = 300.0
# Between two tries, in seconds: at first, then doubled, at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0

NORMAL, CLOSING, AT_ONCE = 0, 1, 2

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Call(NamedTuple):
    """A call of the API. The path stands in messages, too."""

    method: str
    path: str
    body: Any = None
    query: dict[str, Any] | None = None
    headers: dict[str, str] | None = None


class RateLimit(Protocol):
    """Keeps parallel processes below the rate limit of the API; asked before every request."""

    def before_call(self, priority: int) -> None:
        """Return when the call may be sent; NORMAL lets CLOSING go first, and AT_ONCE never waits."""


class Transport:
    """Sends calls to the API and returns the results out of its envelope.

    Args:
        token: The value of the API token.
        account_id: The account, for paths and sentences.
        url: The base of the API.
        timeout: Seconds to wait for one answer.
        jurisdiction: The jurisdiction of the buckets.
        retry_timeout: Seconds that all tries of one call may take together, unless the call says otherwise.
        block_timeout: The same while the API refuses calls because there were too many; as retry_timeout when not given.
        rate_limit: Takes care that parallel processes stay below the API's limit.
        limited: Bounds the seconds that a whole exchange may take; timeout alone bounds each of its silences.
        monotonic: What the server's time is told by between two answers.
        awake: What timeouts are counted by; it stands still while the machine sleeps. monotonic when not given.
    """

    def __init__(
        self,
        token: str,
        account_id: str,
        *,
        url: str = API_URL,
        timeout: float = 30,
        jurisdiction: str = "default",
        retry_timeout: float = RETRY_TIMEOUT,
        block_timeout: float | None = None,
        rate_limit: RateLimit | None = None,
        open_url: Callable[..., Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        awake: Callable[[], float] | None = None,
        limited: Callable[[float], AbstractContextManager[None]] = unlimited,
    ) -> None:
        self._token = _checked_token(token)
        self.account_id = _checked_account(account_id)
        self._url = _checked_url(url)
        self.jurisdiction = checked_jurisdiction(jurisdiction, CloudflareError)
        self.timeout = _checked_timeout(timeout)
        self.retry_timeout = retry_timeout
        self.block_timeout = block_timeout
        self.rate_limit = rate_limit
        self.priority = NORMAL
        self._open_url = open_url
        self._sleep = sleep
        self._monotonic = monotonic
        self._awake = awake or monotonic
        self._limited = limited
        self._clock: tuple[datetime, float] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(account_id={self.account_id!r}, url={self._url!r})"

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, Any] | None = None,
        *,
        headers: dict[str, str] | None = None,
        retry_timeout: float | None = None,
    ) -> Any:
        """Return the result of a call.

        Throttled calls are repeated while retry_timeout lasts. When it is not known whether a call took effect, it is
        repeated too, except for POST: there the caller has to find out.
        """
        return self._repeated(Call(method, path, body, query, headers), retry_timeout)["result"]

    def server_time(self) -> datetime:
        """Return the time of the server: its last Date header plus what has passed since on our monotonic clock."""
        if self._clock is None:
            raise CloudflareError("Cloudflare's API has not told the time: its answers had no readable Date header.")
        date, at = self._clock
        return date + timedelta(seconds=self._monotonic() - at)

    def _repeated(self, call: Call, retry_timeout: float | None = None) -> dict[str, Any]:
        started, tries = self._awake(), 0
        while True:
            tries += 1
            try:
                return self._once(call)
            except (Throttled, Unreachable) as error:
                wait = wait_before_retry(error, tries)
                unknown = isinstance(error, Unreachable) and call.method == "POST"
                if unknown or self._awake() - started + wait > self._limit(error, retry_timeout):
                    raise given_up(error, tries, self._awake() - started) from None
            self._sleep(wait)

    def _limit(self, error: CloudflareError, retry_timeout: float | None) -> float:
        if retry_timeout is not None:
            return retry_timeout
        blocked = isinstance(error, Throttled) and self.block_timeout is not None
        return self.block_timeout if blocked else self.retry_timeout  # type: ignore[return-value]

    def _once(self, call: Call, priority: int | None = None) -> dict[str, Any]:
        request = Request(call.method, call.path, self.account_id, self.jurisdiction)
        if self.rate_limit is not None:
            self.rate_limit.before_call(self.priority if priority is None else priority)
        status, answer_headers, content = self._send(request, call)
        try:
            envelope = json.loads(content)
        except (ValueError, RecursionError):
            envelope = None
        if not isinstance(envelope, dict) or not isinstance(envelope.get("success"), bool):
            if status == 429:
                envelope = {"success": False}
            else:
                raise Unreachable(
                    f"{self._url} answered {request} with HTTP {status} and no JSON of Cloudflare's API: "
                    "check api_url, or the proxy in between",
                    status=status,
                )
        if 200 <= status < 300 and envelope["success"]:
            if "result" in envelope:
                return envelope
            # It may be done, or not.
            raise Unreachable(
                f"{self._url} answered {request} with HTTP {status} and without a result: check api_url, or the proxy in between",
                status=status,
            )
        error = error_of(request, status, self._without_token(envelope))
        if isinstance(error, Throttled):
            error.retry_after = _seconds(answer_headers.get("retry-after"))
        raise error

    def _send(self, request: Request, call: Call) -> tuple[int, Any, bytes]:
        url = self._url + request.path + (f"?{urlencode(call.query)}" if call.query else "")
        data = None if call.body is None else json.dumps(call.body).encode()
        try:
            with self._limited(2 * self.timeout):
                status, answer_headers, content = self._exchange(
                    url, request.method, data, self._headers(data, call.headers)
                )
        except UnicodeError:
            raise CloudflareError(f"{self._url!r} is no usable api_url: no server can have this name.") from None
        except (OSError, HTTPException, urls.ConnectionError) as error:
            reason = with_clock(str(getattr(error, "reason", None) or error)) or type(error).__name__
            raise Unreachable(f"No answer from {self._url} to {request}: {reason}") from None
        self._note_time(answer_headers.get("date"))
        return status, answer_headers, content

    def _exchange(self, url: str, method: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        try:
            self._open_url = self._open_url or _opener()
            # A redirect or a netrc file must not decide where the token goes, or replace it.
            answer = self._open_url(
                url,
                data=data,
                method=method,
                headers=headers,
                timeout=self.timeout,
                follow_redirects="none",
                use_netrc=False,
                http_agent="holdfast.restic_r2",
            )
        except HTTPError as error:
            answer = error
        try:
            return answer.code, answer.headers, answer.read()
        finally:
            answer.close()

    def _headers(self, data: bytes | None, extra: dict[str, str] | None) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json", **(extra or {})}
        if data is not None:
            headers["Content-Type"] = "application/json"
        if self.jurisdiction != "default":
            headers["cf-r2-jurisdiction"] = self.jurisdiction
        return headers

    def _note_time(self, date: str | None) -> None:
        try:
            moment = parsedate_to_datetime(date or "")
        except (TypeError, ValueError, IndexError):
            return
        self._clock = (moment.replace(tzinfo=moment.tzinfo or timezone.utc), self._monotonic())

    def _without_token(self, envelope: dict[str, Any]) -> dict[str, Any]:
        cleaned: dict[str, Any] = json.loads(json.dumps(envelope).replace(self._token, "***"))
        return cleaned


def _opener() -> Callable[..., Any]:
    # Reading the certificates of the machine takes longer than a call does; urls.open_url does it for each call.
    requests = urls.Request(context=urls.make_context())
    return lambda url, *, method, **settings: requests.open(method, url, **settings)


def wait_before_retry(error: CloudflareError, tries: int) -> float:
    """Return the seconds to wait: as the API asked, within reason; else doubling from half a second."""
    asked = getattr(error, "retry_after", None)
    if asked is not None:
        return float(min(max(asked, 1.0), LONGEST_WAIT))
    return min(FIRST_PAUSE * 2.0 ** (tries - 1), LONGEST_PAUSE) * random.uniform(0.75, 1.0)


def given_up(error: CloudflareError, tries: int, seconds: float) -> CloudflareError:
    again = type(error)(
        f"{error}; given up after {tries} {'try' if tries == 1 else 'tries'} in {seconds:.0f} s.",
        status=error.status,
        code=error.code,
        **error.details,
    )
    if isinstance(error, Throttled) and isinstance(again, Throttled):
        again.retry_after = error.retry_after
    return again


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _checked_token(token: str | None) -> str:
    value = (token or "").strip()
    if not value:
        raise CloudflareError("api_token is missing: set it, or the environment variable CLOUDFLARE_API_TOKEN.")
    # Also keeps the token out of the complaint that the HTTP library would make about it.
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise CloudflareError("api_token holds characters that no API token has.")
    return value


def _checked_account(account_id: str | None) -> str:
    if not account_id:
        raise CloudflareError("account_id is missing: set it, or the environment variable CLOUDFLARE_ACCOUNT_ID.")
    if not re.fullmatch(r"[0-9a-fA-F]{32}", account_id):
        raise CloudflareError(f"{account_id!r} is no account id: that has 32 hexadecimal digits.")
    return account_id


def _checked_timeout(timeout: float) -> float:
    if not 0 < timeout <= LONGEST_WAIT:
        raise CloudflareError(f"api_timeout is {timeout}: write a number of seconds from 1 to {LONGEST_WAIT:.0f}.")
    return timeout


def _checked_url(url: str | None) -> str:
    try:
        parts = urlsplit(url or "")
        host, secure = parts.hostname, parts.scheme == "https"
    except ValueError:
        host, secure, parts = None, False, urlsplit("")
    if not host or parts.username or parts.query or not (secure or (parts.scheme == "http" and host in _LOOPBACK)):
        raise CloudflareError(
            f"{url!r} is no usable api_url: it must begin with https:// (http:// on the loopback interface only), "
            "because the API token is sent there."
        )
    return (url or "").rstrip("/")
