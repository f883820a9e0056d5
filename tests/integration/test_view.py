# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A view of a repository served to restic and to clients that mean no good, over objects in the stand-in."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic import view_server as _view_server
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.view import LOCK_BYTES, View
from ansible_collections.holdfast.restic_r2.plugins.module_utils._restic.view_server import serve

from tests.stand_in.client import StandIn
from tests.support.repositories import Bed
from tests.support.running import Ansible

TIMEOUT = 60.0


class Client(http.client.HTTPConnection):
    """A connection through the socket of a view."""

    def __init__(self, address: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self.path = socket_of(address)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self.path)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        self.request(method, path, body, headers)
        answer = self.getresponse()
        return answer.status, answer.read()


def socket_of(address: str) -> str:
    return address.removeprefix("rest:http+unix://").removesuffix(":/")


def until(condition: Callable[[], bool]) -> None:
    """Wait for what is to happen soon."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def name_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


PACK = os.urandom(300_000)
DATA = f"data/{name_of(PACK)[:2]}/{name_of(PACK)}"


@pytest.fixture(params=["", "web1/"])
def bed(shared_stand_in: StandIn, ansible: Ansible, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bed]:
    found = Bed(shared_stand_in, ansible, "restic", tmp_path, prefix=request.param)
    for key, body in (("config", b"config"), (DATA, PACK)):
        found.s3.call("put_object", Key=found.prefix + key, Body=body)
    yield found
    shared_stand_in.clear_faults()
    shared_stand_in.settings(refusal_status=409)


def view(bed: Bed, **settings: Any) -> View:
    return View(bed.s3, bed.prefix, {item.key: item for item in bed.s3.list()}, **settings)


@contextlib.contextmanager
def client(there: View, **settings: Any) -> Iterator[Client]:
    with serve(there, **settings) as address, contextlib.closing(Client(address)) as found:
        yield found


def test_objects_are_listed_and_read_by_exact_name(bed: Bed) -> None:
    name = name_of(PACK)
    with client(view(bed)) as there:
        assert there.ask("GET", "/config") == (200, b"config")
        status, body = there.ask("GET", "/data/")
        assert (status, json.loads(body)) == (200, [{"name": name, "size": len(PACK)}])
        assert there.ask("GET", "/index/") == (200, b"[]")
        assert there.ask("GET", f"/data/{name}") == (200, PACK)
        assert there.ask("GET", f"/data/{name}", Range="bytes=10-19") == (206, PACK[10:20])
        assert there.ask("GET", f"/data/{name}", Range="bytes=299990-") == (206, PACK[-10:])
        assert there.ask("GET", f"/data/{name}", Range="bytes=299990-999999999") == (206, PACK[-10:])
        assert there.ask("GET", f"/data/{name}", Range=f"bytes={len(PACK)}-")[0] == 416
        for wrong in ("bytes=5-2", "bytes=-5", "bytes=0-1,3-4", "lines=1-2", "bytes=0-" + "9" * 40):
            assert there.ask("GET", f"/data/{name}", Range=wrong)[0] == 416
        there.request("HEAD", f"/data/{name}")
        answer = there.getresponse()
        assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, str(len(PACK)), b"")
        for path in (
            "/",
            "/?create=true",
            f"/data/{name.upper()}",
            f"/data/{name[:2]}/{name}",
            f"/{DATA}",
            "/other/",
            "/keys/x",
        ):
            assert there.ask("GET", path)[0] == 404
        for method in ("POST", "DELETE"):
            assert there.ask(method, "/?create=true")[0] == 403
        for method in ("PUT", "PATCH", "BREW"):
            with contextlib.closing(Client(f"rest:http+unix://{there.path}:/")) as other:
                assert other.ask(method, "/config")[0] == 501


def test_the_socket_is_ours_alone_and_goes_in_the_end(bed: Bed) -> None:
    with serve(view(bed)) as address:
        path = Path(socket_of(address))
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert len(str(path)) < 100
    assert not path.parent.exists()


@pytest.mark.parametrize("name", ["with blank", "per%cent", "smörgås", "colon:in", "x" * 120])
def test_an_odd_temporary_folder_is_not_used_for_the_socket(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setattr(_view_server.tempfile, "gettempdir", lambda: str(folder))
    with client(view(bed)) as there:
        assert there.ask("GET", "/config") == (200, b"config")
        assert not list(folder.iterdir())


def test_another_user_is_not_listened_to(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_view_server.os, "geteuid", lambda: 4321)
    with client(view(bed)) as there, pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        there.ask("GET", "/config")


@pytest.mark.parametrize("body", [b"other", b"", b"longer than before"])
@pytest.mark.parametrize("span", [{}, {"Range": "bytes=1-3"}])
def test_an_object_that_was_replaced_is_an_error(bed: Bed, body: bytes, span: dict[str, str]) -> None:
    seen = view(bed)
    bed.s3.call("put_object", Key=f"{bed.prefix}config", Body=body)
    with client(seen) as there:
        status, sentence = there.ask("GET", "/config", **span)
        assert status == 403 and b"not the object that was judged" in sentence
    assert len(seen.problems) == 1


def test_an_object_that_is_gone_is_an_error(bed: Bed) -> None:
    seen = view(bed)
    bed.s3.delete(bed.prefix + DATA)
    with client(seen) as there:
        assert there.ask("GET", f"/data/{name_of(PACK)}")[0] == 403
    assert seen.problems == [f"{bed.prefix}{DATA} is not the object that was judged any more."]


def test_a_service_that_does_not_heed_the_condition_is_not_believed(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = view(bed)
    bed.s3.call("put_object", Key=f"{bed.prefix}config", Body=b"fonfic")
    call = seen.s3.client.get_object
    monkeypatch.setattr(
        seen.s3.client, "get_object", lambda **given: call(**{k: v for k, v in given.items() if k != "IfMatch"})
    )
    with client(seen) as there:
        assert there.ask("GET", "/config")[0] == there.ask("GET", "/config", Range="bytes=1-2")[0] == 403
    assert len(seen.problems) == 1


def test_a_failure_that_passes_is_one_for_restic_too(bed: Bed) -> None:
    seen = view(bed)
    with client(seen) as there:
        bed.stand_in.fault(kind="GetObject", path=bed.bucket, status=503)
        assert there.ask("GET", "/config")[0] == 502
        assert there.ask("GET", "/config") == (200, b"config")
    assert seen.problems == []


def test_an_answer_that_stops_halfway_is_no_whole_one(bed: Bed) -> None:
    seen = view(bed)
    with client(seen) as there:
        bed.stand_in.fault(kind="GetObject", path=bed.bucket, cut="half")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            there.ask("GET", f"/data/{name_of(PACK)}")
        there.close()
        assert there.ask("GET", f"/data/{name_of(PACK)}") == (200, PACK)
    assert seen.problems == []


def test_what_is_added_reaches_the_bucket_and_nothing_is_deleted_there(bed: Bed) -> None:
    bed.lock()
    seen, body = view(bed), os.urandom(1 << 20)
    with client(seen) as there:
        for _time in range(2):
            assert there.ask("POST", f"/data/{name_of(body)}", body)[0] == 200
        assert there.ask("GET", f"/data/{name_of(body)}") == (200, body)
        assert there.ask("POST", f"/data/{name_of(PACK)}", PACK)[0] == 403
        assert there.ask("POST", "/config", b"x" * 100_000)[0] == 403
        assert there.ask("DELETE", f"/data/{name_of(PACK)}")[0] == 200
        assert there.ask("GET", f"/data/{name_of(PACK)}")[0] == 404
    key = f"data/{name_of(body)[:2]}/{name_of(body)}"
    stored = {item.key: item for item in bed.s3.list()}
    assert set(stored) == {bed.prefix + one for one in ("config", DATA, key)}
    assert list(seen.added) == [key] and seen.deleted == [DATA]
    assert (seen.added[key].size, seen.added[key].etag) == (1 << 20, stored[bed.prefix + key].etag)
    assert seen.differences(stored) == {}
    assert len(seen.problems) == 2


@pytest.mark.parametrize("locked", [True, False])
def test_an_addition_never_goes_over_what_came_meanwhile(bed: Bed, locked: bool) -> None:
    seen, body = view(bed), b"index"
    key = f"index/{name_of(body)}"
    bed.s3.call("put_object", Key=bed.prefix + key, Body=b"xedni")
    if locked:
        bed.lock()
    with client(seen) as there:
        status, sentence = there.ask("POST", f"/{key}", body)
        assert status == 403 and b"was there when restic added it" in sentence
    assert bed.s3.get(bed.prefix + key) == b"xedni"
    assert seen.added == {} and len(seen.problems) == 1


@pytest.mark.parametrize("locked", [True, False])
def test_an_addition_whose_answer_was_lost_is_ours(bed: Bed, locked: bool) -> None:
    if locked:
        bed.lock()
    seen, body = view(bed), b"index"
    with client(seen) as there:
        bed.stand_in.fault(kind="PutObject", path=bed.bucket, cut="after")
        assert there.ask("POST", f"/index/{name_of(body)}", body)[0] == 502
        assert there.ask("POST", f"/index/{name_of(body)}", body)[0] == 200
    assert list(seen.added) == [f"index/{name_of(body)}"] and seen.problems == []


def test_locks_of_others_are_not_there_unless_asked_for(bed: Bed) -> None:
    lock, own = b"a lock", b"our own"
    planted = {f"locks/{name_of(lock)}": lock, f"locks/{name_of(lock).upper()}": lock, "locks/x": b"x"}
    planted[f"locks/{'0' * 64}"] = bytes(LOCK_BYTES + 1)
    planted[f"locks/{'1' * 64}"] = b""
    for key, body in planted.items():
        bed.s3.call("put_object", Key=bed.prefix + key, Body=body)
    seen, live = view(bed), view(bed, locks="live")
    with client(seen) as there:
        assert there.ask("GET", "/locks/") == (200, b"[]")
        assert there.ask("GET", f"/locks/{name_of(lock)}")[0] == 404
        assert there.ask("DELETE", f"/locks/{name_of(lock)}")[0] == 404
    with client(live) as there:
        assert there.ask("POST", f"/locks/{name_of(own)}", own)[0] == 200
        names = [item["name"] for item in json.loads(there.ask("GET", "/locks/")[1])]
        assert names == [name_of(lock), name_of(own)]
        assert there.ask("GET", f"/locks/{name_of(lock)}") == (200, lock)
        for name in names:
            assert there.ask("DELETE", f"/locks/{name}")[0] == 200
        assert there.ask("GET", "/locks/") == (200, b"[]")
    planted.pop(f"locks/{name_of(lock)}")
    assert {item.key for item in bed.s3.list(f"{bed.prefix}locks/")} == {bed.prefix + key for key in planted}
    assert seen.problems == live.problems == []


POST = b"POST /config HTTP/1.1\r\n"
GARBAGE = (
    b"\0" * 70_000,
    b"GET\r\n\r\n",
    b"GET /config HTTP/9.9\r\n\r\n",
    b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
    POST + b"\r\nxxxx",
    POST + b"Content-Length: -1\r\n\r\nxx",
    POST + b"Content-Length: 1e9\r\n\r\n",
    POST + b"Content-Length: 99999999999999\r\n\r\nxx",
    POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET //[::1 HTTP/1.1\r\n\r\n",
    b"\r\n\r\n",
    b"\xff\xfe\r\n\r\n",
)


def test_garbage_ends_nothing(bed: Bed) -> None:
    seen = view(bed)
    with client(seen) as there:
        for garbage in GARBAGE:
            with contextlib.suppress(OSError), contextlib.closing(socket.socket(socket.AF_UNIX)) as raw:
                raw.settimeout(TIMEOUT)
                raw.connect(there.path)
                raw.sendall(garbage)
                raw.shutdown(socket.SHUT_WR)
                while got := raw.recv(1 << 16):
                    assert b"Traceback" not in got
        assert there.ask("GET", "/config") == (200, b"config")
    assert seen.added == {}


def test_a_connection_that_is_cut_in_the_middle_adds_nothing(bed: Bed) -> None:
    seen, body = view(bed), os.urandom(100_000)
    with client(seen) as there:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as raw:
            raw.connect(there.path)
            raw.sendall(
                f"POST /data/{name_of(body)} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:-1]
            )
        until(lambda: seen.requests["POST"] == 1)
        assert there.ask("POST", f"/data/{name_of(body)}", body)[0] == 200
    assert len(seen.added) == 1 and seen.problems == []


def test_a_client_that_stalls_is_let_go(bed: Bed) -> None:
    seen = view(bed)
    with client(seen, threads=1, stalled=0.2, waiting=0.2) as there:
        for begin in (b"", b"GET /conf", b"POST /config HTTP/1.1\r\nContent-Length: 10\r\n\r\nxx"):
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as raw:
                raw.settimeout(TIMEOUT)
                raw.connect(there.path)
                raw.sendall(begin)
                while raw.recv(1000):
                    pass
        there.close()
        assert there.ask("GET", "/config") == (200, b"config")


def test_a_client_that_only_just_moves_is_let_go(bed: Bed) -> None:
    seen = view(bed)
    with client(seen, threads=1, longest=3) as there:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as raw, contextlib.suppress(OSError):
            raw.settimeout(TIMEOUT)
            raw.connect(there.path)
            raw.sendall(f"POST /index/{'0' * 64} HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n".encode())
            end = time.monotonic() + TIMEOUT
            while time.monotonic() < end:
                raw.sendall(b"x")
                time.sleep(0.01)
            pytest.fail("The connection went on for a minute.")
        assert there.ask("GET", "/config") == (200, b"config")
    assert seen.added == {}


def test_a_thousand_connections_keep_nobody_out(bed: Bed) -> None:
    before = threading.active_count()
    seen = view(bed)
    with client(seen, threads=4) as there, contextlib.ExitStack() as many:
        for _number in range(1000):
            raw = many.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
            raw.connect(there.path)
        assert threading.active_count() <= before + 6
        many.close()
        assert there.ask("GET", "/config") == (200, b"config")
        assert threading.active_count() <= before + 6
    until(lambda: threading.active_count() <= before)


def test_connections_without_a_request_give_way_to_one_with(bed: Bed) -> None:
    with client(view(bed), threads=2, waiting=3600) as there, contextlib.ExitStack() as many:
        for _number in range(4):
            raw = many.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
            raw.connect(there.path)
        assert there.ask("GET", "/config") == (200, b"config")
