# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client of Cloudflare's API: buckets and tokens."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.api import Cloudflare, CloudflareError, Denied

from tests.support.scripted_api import Answer, ScriptedApi, failure, success

ACCOUNT = "0123456789abcdef0123456789abcdef"
BUCKETS = f"/accounts/{ACCOUNT}/r2/buckets"


def client(api: ScriptedApi) -> Cloudflare:
    """A client that does not wait."""
    return Cloudflare("cfat_never-to-be-shown", ACCOUNT, url=api.url, sleep=lambda seconds: None)


def test_bucket_that_is_not_there_is_none_and_other_errors_are_errors() -> None:
    with ScriptedApi(failure(404, 10006)) as api:
        assert client(api).bucket("backup-web1") is None
    for status, code in ((404, 7003), (404, 4711), (403, 10000)):
        with ScriptedApi(failure(status, code)) as api, pytest.raises(CloudflareError):
            client(api).bucket("backup-web1")


def test_all_pages_of_buckets() -> None:
    first = success({"buckets": [{"name": "a"}]}, result_info={"cursor": "next", "per_page": 1000})
    with ScriptedApi(first, success({"buckets": [{"name": "b"}]}, result_info={})) as api:
        assert [bucket["name"] for bucket in client(api).buckets()] == ["a", "b"]
    assert api.calls == [f"GET {BUCKETS}?per_page=1000", f"GET {BUCKETS}?per_page=1000&cursor=next"]
    with ScriptedApi(first, first) as api, pytest.raises(CloudflareError, match="come to the end"):
        client(api).buckets()


def test_create_sends_what_was_given_only() -> None:
    with ScriptedApi(success({"name": "backup-web1"})) as api:
        client(api).create_bucket("backup-web1", "weur")
    assert api.asked[0]["body"] == {"name": "backup-web1", "locationHint": "weur"}


def test_lost_answer_to_a_create_is_settled_by_reading_and_not_repeated() -> None:
    with ScriptedApi(Answer(cut=True), success({"name": "backup-web1"})) as api:
        assert client(api).create_bucket("backup-web1") == {"name": "backup-web1"}
    assert [one["method"] for one in api.asked] == ["POST", "GET"]
    with ScriptedApi(failure(500, 1), failure(404, 10006), success({"name": "backup-web1"})) as api:
        client(api).create_bucket("backup-web1")
    assert [one["method"] for one in api.asked] == ["POST", "GET", "POST"]


def test_bucket_that_is_there_already_is_no_error_but_somebody_elses_is() -> None:
    with ScriptedApi(failure(409, 10004), success({"name": "backup-web1"})) as api:
        assert client(api).create_bucket("backup-web1") == {"name": "backup-web1"}
    with ScriptedApi(failure(409, 10073), failure(404, 10006)) as api, pytest.raises(CloudflareError):
        client(api).create_bucket("backup-web1")


def test_delete_whose_answer_was_lost() -> None:
    with ScriptedApi(Answer(cut=True), failure(404, 10006)) as api:
        client(api).delete_bucket("backup-web1")
    with ScriptedApi(failure(409, 10008)) as api, pytest.raises(CloudflareError, match="is not empty"):
        client(api).delete_bucket("backup-web1")


def test_storage_class_is_a_header() -> None:
    with ScriptedApi(success({"name": "backup-web1"})) as api:
        client(api).set_storage_class("backup-web1", "InfrequentAccess")
    assert api.calls == [f"PATCH {BUCKETS}/backup-web1"]
    assert api.asked[0]["headers"]["cf-r2-storage-class"] == "InfrequentAccess"


def test_public_access() -> None:
    with ScriptedApi(success({"enabled": True, "domain": "x.r2.dev"}), success({"enabled": False})) as api:
        assert client(api).public_access("backup-web1") is True
        assert client(api).set_public_access("backup-web1", False) is False
    assert api.asked[1]["body"] == {"enabled": False}
    with ScriptedApi(success({})) as api, pytest.raises(CloudflareError, match="did not say"):
        client(api).public_access("backup-web1")


# --- token


def test_token_id_of_an_accounts_and_of_a_users_token() -> None:
    active = success({"id": "abc", "status": "active"})
    with ScriptedApi(active) as api:
        assert client(api).token_id() == "abc"
    with ScriptedApi(failure(401, 1000), active) as api:
        assert client(api).token_id() == "abc"
    assert api.calls == [f"GET /accounts/{ACCOUNT}/tokens/verify", "GET /user/tokens/verify"]
    with ScriptedApi(failure(404, 7003), failure(401, 1000)) as api:
        with pytest.raises(CloudflareError, match="knows no account"):
            client(api).token_id()
    with ScriptedApi(success({"id": "abc", "status": "disabled"})) as api, pytest.raises(Denied, match="disabled"):
        client(api).token_id()
