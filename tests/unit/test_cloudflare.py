# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client of Cloudflare's API: what it sends, what it makes of the answers, when it tries again."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.rules import LockRulesError
from ansible_collections.holdfast.restic_r2.plugins.module_utils._locks.store import (
    CloudflareLocks,
    LockConflict,
    cloudflare_client,
)
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.api import (
    AT_ONCE,
    CLOSING,
    NORMAL,
    CloudflareError,
    Denied,
    NotFound,
    Throttled,
    Unreachable,
)

from tests.support.scripted_api import Answer, ScriptedApi, failure, success

ACCOUNT = "0123456789abcdef0123456789abcdef"
TOKEN = "cfat_never-to-be-shown"
BUCKETS = f"/accounts/{ACCOUNT}/r2/buckets"
RULE = {"id": "a", "enabled": True, "prefix": "x/", "condition": {"type": "Indefinite"}}
OTHER = {**RULE, "id": "b"}
DONE = success({})


class Clock:
    """Time that only passes by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def client(api: ScriptedApi | str, clock: Clock | None = None, **settings: Any) -> CloudflareLocks:
    clock = clock or Clock()
    url = api if isinstance(api, str) else api.url
    return CloudflareLocks(TOKEN, ACCOUNT, url=url, sleep=clock.sleep, monotonic=clock.monotonic, **settings)


def locked(*rules: dict[str, Any]) -> Answer:
    return success({"rules": list(rules)})


def add(rule: dict[str, Any]) -> Any:
    return lambda rules: rules if any(one["id"] == rule["id"] for one in rules) else [*rules, rule]


# --- what is sent


def test_request_carries_token_and_json_and_no_jurisdiction_by_default() -> None:
    with ScriptedApi(DONE, locked(RULE)) as api:
        assert client(api).replace_lock_rules("backup-web1", [RULE]) == [RULE]
    put, get = api.asked
    assert api.calls == [f"PUT {BUCKETS}/backup-web1/lock", f"GET {BUCKETS}/backup-web1/lock"]
    assert put["body"] == {"rules": [RULE]}
    assert put["headers"]["authorization"] == f"Bearer {TOKEN}"
    assert put["headers"]["content-type"] == "application/json"
    assert "cf-r2-jurisdiction" not in put["headers"]
    assert get["body"] is None


@pytest.mark.parametrize(("given", "sent"), [("eu", "eu"), ("default", None), ("", None), ("newland", "newland")])
def test_jurisdiction_is_a_header_and_never_empty(
    given: str, sent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_JURISDICTIONS", "newland, other")
    with ScriptedApi(locked()) as api:
        client(api, jurisdiction=given).lock_rules("backup-web1")
    assert api.asked[0]["headers"].get("cf-r2-jurisdiction") == sent


@pytest.mark.parametrize("name", ["", "ab", "Upper", "a/b", "a_b", "-ab", "ab-", "a" * 64, "a?b=c", "abc\n"])
def test_bucket_name_is_checked_before_it_gets_into_an_address(name: str) -> None:
    with ScriptedApi() as api, pytest.raises(CloudflareError, match="is not a bucket name"):
        client(api).lock_rules(name)
    assert api.asked == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"account_id": None}, "account_id is missing"),
        ({"account_id": "../../user"}, "no account id"),
        ({"api_token": ""}, "api_token is missing"),
        ({"api_token": "two\nlines"}, "characters that no API token has"),
        ({"api_url": "http://api.example.com"}, "because the API token is sent there"),
        ({"api_url": "ftp://127.0.0.1"}, "no usable api_url"),
        ({"api_url": "nonsense"}, "no usable api_url"),
        ({"jurisdiction": "e u"}, "The jurisdiction 'e u' is not known"),
        ({"jurisdiction": "europe"}, "write one of default, eu, fedramp, us"),
        ({"api_timeout": -1}, "api_timeout is -1"),
        ({"api_timeout": 0}, "api_timeout is 0"),
        ({"api_timeout": 10**12}, "api_timeout is 1000000000000"),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    params = {
        "account_id": ACCOUNT,
        "api_token": TOKEN,
        "api_url": "https://api.cloudflare.com/client/v4",
        "api_timeout": 30,
        "jurisdiction": "default",
    }
    cloudflare_client(params)
    with pytest.raises(CloudflareError, match=sentence) as caught:
        cloudflare_client({**params, **settings})
    assert "lines" not in str(caught.value)


def test_redirect_does_not_take_the_token_elsewhere() -> None:
    with ScriptedApi() as elsewhere:
        with ScriptedApi(Answer("", 302, {"Location": elsewhere.url})) as api, pytest.raises(CloudflareError):
            client(api, retry_timeout=0).lock_rules("backup-web1")
        assert elsewhere.asked == []


# --- what is made of answers

SENTENCES = [
    (404, 7003, CloudflareError, "knows no account"),
    (403, 10000, Denied, "lacks the permission 'Workers R2 Storage Write'"),
    (401, 9109, Denied, "is not valid or lacks"),
    (400, 6003, Denied, "must be the token's value"),
    (400, 6111, Denied, "must be the token's value"),
    (403, 10042, Denied, "R2 is not enabled"),
    (404, 10006, NotFound, "no bucket 'backup-web1' in account"),
    (429, 971, Throttled, "after 1,200 in 5 minutes"),
    (409, 10008, CloudflareError, "is not empty"),
    (500, 10001, Unreachable, "API failed"),
    (400, 4711, CloudflareError, "refused the call"),
    (200, 10000, Denied, "lacks the permission"),
]


@pytest.mark.parametrize(("status", "code", "kind", "sentence"), SENTENCES)
def test_each_refusal_has_a_sentence_of_its_own(status: int, code: int, kind: type, sentence: str) -> None:
    with ScriptedApi(failure(status, code)) as api, pytest.raises(kind, match=sentence) as caught:
        client(api, retry_timeout=0).lock_rules("backup-web1")
    assert caught.type is kind
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "said the API" in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        Answer("<html>", 502),
        Answer("<html>", 200),
        Answer("", 200),
        Answer([], 200),
        Answer({"result": {"rules": []}}, 200),
        Answer({"success": True, "errors": [], "messages": []}, 200),
        Answer({"success": "yes", "result": {"rules": []}}, 200),
        Answer("nope", 403),
        Answer("[" * 100000, 200),
        Answer({"success": False, "errors": 5}, 500),
        Answer(cut=True),
    ],
)
def test_answer_that_is_no_envelope_is_no_answer(answer: Answer) -> None:
    with ScriptedApi(answer) as api, pytest.raises(Unreachable, match="given up after 1 try"):
        client(api, retry_timeout=0).lock_rules("backup-web1")


@pytest.mark.parametrize("url", ["https://" + "a" * 70 + ".invalid", "http://127.0.0.1:1/pfäd"])
def test_address_that_cannot_be_is_one_sentence(url: str) -> None:
    with pytest.raises(CloudflareError, match="no usable api_url"):
        client(url).lock_rules("backup-web1")


@pytest.mark.parametrize("answer", [success({"buckets": [5]}), success({"buckets": []}, result_info=[1])])
def test_list_of_something_else_is_an_error(answer: Answer) -> None:
    with ScriptedApi(answer) as api, pytest.raises(CloudflareError, match="another kind"):
        client(api).buckets()


@pytest.mark.parametrize("result", [None, [], {"rules": None}])
def test_result_that_is_no_lock_document_is_an_error(result: Any) -> None:
    with ScriptedApi(success(result)) as api, pytest.raises(LockRulesError, match="backup-web1"):
        client(api).lock_rules("backup-web1")


def test_token_is_never_shown() -> None:
    with ScriptedApi(failure(403, 10000, f"Invalid header 'Bearer {TOKEN}'")) as api:
        cloudflare = client(api)
        with pytest.raises(Denied) as caught:
            cloudflare.buckets()
    assert TOKEN not in str(caught.value) + repr(caught.value) + repr(cloudflare)
    assert "***" in str(caught.value)


def test_nothing_listens() -> None:
    with ScriptedApi() as api:
        url = api.url
    with pytest.raises(Unreachable, match=r"No answer from http://127.*refused"):
        client(url, retry_timeout=1).buckets()


# --- when it tries again


def test_lost_answers_are_asked_for_again_with_growing_waits(clock: Clock) -> None:
    with ScriptedApi(Answer(cut=True), failure(500, 1), Answer("x", 503), locked(RULE)) as api:
        assert client(api, clock).lock_rules("backup-web1") == [RULE]
    assert len(clock.slept) == 3
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[-1] <= 2


@pytest.mark.parametrize(("told", "waited"), [("7", 7), ("0", 1), ("3600", 300)])
def test_wait_that_the_api_asks_for_is_kept_within_reason(clock: Clock, told: str, waited: float) -> None:
    with ScriptedApi(failure(429, 971, retry_after=told), locked()) as api:
        client(api, clock, retry_timeout=900).lock_rules("backup-web1")
    assert clock.slept == [waited]


def test_short_timeout_gives_up_at_once_and_long_timeout_outlasts_a_block(clock: Clock) -> None:
    with ScriptedApi(failure(429, 971, retry_after="300")) as api, pytest.raises(Throttled):
        client(api, clock, retry_timeout=60).lock_rules("backup-web1")
    assert clock.slept == []
    with ScriptedApi(*[Answer("<html>", 429)] * 24, locked(RULE)) as api:
        assert client(api, clock, retry_timeout=900).lock_rules("backup-web1") == [RULE]
    assert clock.now - 1000 > 250


def test_modules_outlast_a_block_but_not_a_dead_address(clock: Clock) -> None:
    with ScriptedApi(failure(429, 971, retry_after="300"), locked(RULE)) as api:
        assert client(api, clock, retry_timeout=60, block_timeout=400).lock_rules("backup-web1") == [RULE]
    with ScriptedApi(*[failure(500, 1)] * 50) as api, pytest.raises(Unreachable):
        client(api, Clock(), retry_timeout=60, block_timeout=400).lock_rules("backup-web1")
    assert len(api.asked) < 15


def test_refusal_is_not_tried_again() -> None:
    with ScriptedApi(failure(403, 10000)) as api, pytest.raises(Denied):
        client(api).lock_rules("backup-web1")
    assert len(api.asked) == 1


def test_rate_limit_is_asked_before_every_try_with_the_priority() -> None:
    asked = []

    class RateLimit:
        def before_call(self, priority: int) -> None:
            asked.append(priority)

    with ScriptedApi(failure(500, 1), locked()) as api:
        cloudflare = client(api, rate_limit=RateLimit())
        cloudflare.priority = CLOSING
        cloudflare.lock_rules("backup-web1")
    assert asked == [CLOSING, CLOSING]


def test_what_was_read_does_not_grow_old_before_it_is_written() -> None:
    asked = []

    class RateLimit:
        def before_call(self, priority: int) -> None:
            asked.append(priority)

    with ScriptedApi(locked(), DONE, locked(RULE)) as api:
        client(api, rate_limit=RateLimit()).update_lock_rules("backup-web1", add(RULE))
    assert asked == [NORMAL, AT_ONCE, NORMAL]


# --- the server's clock


def test_server_time_is_the_date_header_plus_what_has_passed(clock: Clock) -> None:
    with ScriptedApi(Answer(locked().body, headers={"Date": "Mon, 23 Nov 2026 04:00:00 GMT"})) as api:
        cloudflare = client(api, clock)
        with pytest.raises(CloudflareError, match="has not told the time"):
            cloudflare.server_time()
        cloudflare.lock_rules("backup-web1")
    clock.now += 90
    assert cloudflare.server_time() == datetime(2026, 11, 23, 4, 1, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Nov 2026 04:00:00 GMT"])
def test_unreadable_date_is_no_time(date: str) -> None:
    with ScriptedApi(Answer(locked().body, headers={"Date": date})) as api:
        cloudflare = client(api)
        cloudflare.lock_rules("backup-web1")
    with pytest.raises(CloudflareError, match="has not told the time"):
        cloudflare.server_time()


# --- writing a lock document


def test_lost_answer_to_a_put_is_settled_by_reading() -> None:
    with ScriptedApi(locked(), Answer(cut=True), locked(RULE)) as api:
        update = client(api).update_lock_rules("backup-web1", add(RULE))
    assert (update.before, update.after, update.written, update.unanswered) == ([], [RULE], True, False)
    assert [one["method"] for one in api.asked] == ["GET", "PUT", "GET"]


def test_lost_write_of_what_was_there_before_may_take_effect_later() -> None:
    with ScriptedApi(locked(RULE), Answer(cut=True), locked(RULE)) as api:
        update = client(api).update_lock_rules("backup-web1", add(RULE), always=lambda rules: True)
    assert update.written and update.unanswered


def test_put_that_did_not_take_effect_is_planned_again_with_what_is_there() -> None:
    with ScriptedApi(locked(), failure(500, 1), locked(OTHER), locked(OTHER), DONE, locked(RULE, OTHER)) as api:
        update = client(api).update_lock_rules("backup-web1", add(RULE))
    assert [one["body"] for one in api.asked if one["method"] == "PUT"] == [{"rules": [RULE]}, {"rules": [OTHER, RULE]}]
    assert update.after == [RULE, OTHER]


def test_document_changed_by_someone_else_is_planned_again() -> None:
    with ScriptedApi(locked(), DONE, locked(OTHER), locked(OTHER), DONE, locked(OTHER, RULE)) as api:
        client(api).update_lock_rules("backup-web1", add(RULE))
    assert api.asked[4]["body"] == {"rules": [OTHER, RULE]}


def test_document_that_others_write_all_the_time_ends_in_a_sentence() -> None:
    with (
        ScriptedApi(locked(), *[DONE, locked(OTHER), locked(OTHER)] * 6) as api,
        pytest.raises(LockConflict, match="changed by another writer meanwhile"),
    ):
        client(api).update_lock_rules("backup-web1", add(RULE))
    assert sum(one["method"] == "PUT" for one in api.asked) == 6


def test_nothing_to_change_is_one_get_and_check_mode_never_writes() -> None:
    with ScriptedApi(locked(RULE)) as api:
        assert client(api).update_lock_rules("backup-web1", add(RULE)).written is False
    with ScriptedApi(locked()) as api:
        update = client(api).update_lock_rules("backup-web1", add(RULE), write=False)
    assert (update.after, update.written) == ([RULE], False)
    assert len(api.asked) == 1


def test_empty_document_is_not_written_by_accident() -> None:
    with ScriptedApi(locked(RULE)) as api, pytest.raises(LockRulesError):
        client(api).update_lock_rules("backup-web1", lambda rules: [])
    assert [one["method"] for one in api.asked] == ["GET"]
    with ScriptedApi(locked(RULE), DONE, locked()) as api:
        client(api).update_lock_rules("backup-web1", lambda rules: [], allow_empty=True)
    assert api.asked[1]["body"] == {"rules": []}


def test_failing_put_gives_up_when_the_timeout_is_over(clock: Clock) -> None:
    answers = [locked(), *[failure(500, 1), locked(), locked()] * 30]
    with ScriptedApi(*answers) as api, pytest.raises(Unreachable, match="given up"):
        client(api, clock).update_lock_rules("backup-web1", add(RULE), retry_timeout=30)
    assert clock.now - 1000 <= 31
    with ScriptedApi(locked(), failure(429, 971, retry_after="300")) as api, pytest.raises(Throttled):
        client(api, clock).update_lock_rules("backup-web1", add(RULE), retry_timeout=30)


def test_throttled_put_is_planned_again_after_the_block(clock: Clock) -> None:
    script = [locked(), failure(429, 971, retry_after="300"), locked(OTHER), DONE, locked(OTHER, RULE)]
    with ScriptedApi(*script) as api:
        client(api, clock).update_lock_rules("backup-web1", add(RULE), retry_timeout=900)
    assert clock.slept == [300]
    assert api.asked[3]["body"] == {"rules": [OTHER, RULE]}
