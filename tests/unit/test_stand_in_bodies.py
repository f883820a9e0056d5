# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chunked signatures, by the example that AWS publishes with its description of them."""

from __future__ import annotations

import pytest

from tests.stand_in.bodies import open_body
from tests.stand_in.messages import Request
from tests.stand_in.s3_errors import S3Error
from tests.stand_in.sigv4 import Signature, expected_signature

SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
CHUNKS = [
    (b"a" * 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (b"a" * 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
]
HEADERS = {
    "content-encoding": "aws-chunked",
    "content-length": "66824",
    "host": "s3.amazonaws.com",
    "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "x-amz-date": "20130524T000000Z",
    "x-amz-decoded-content-length": "66560",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
}


def example() -> tuple[Request, Signature]:
    """The request of the example."""
    body = b"".join(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), sig.encode(), data) for data, sig in CHUNKS)
    request = Request("PUT", "/examplebucket/chunkObject.txt", "", dict(HEADERS), body)
    names = sorted(HEADERS)
    claimed = Signature("AKIAIOSFODNN7EXAMPLE", "20130524", "us-east-1", "s3", names, SEED, HEADERS["x-amz-date"], None)
    claimed.derive("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    return request, claimed


def test_signature_of_the_head() -> None:
    request, claimed = example()
    assert expected_signature(request, claimed) == SEED


def test_signatures_of_the_chunks() -> None:
    request, claimed = example()
    open_body(request, claimed)
    assert request.body == b"a" * 66560
    assert "content-encoding" not in request.headers


@pytest.mark.parametrize("position", [100, 66000, 66800], ids=["first chunk", "second chunk", "last chunk"])
def test_any_changed_byte_is_noticed(position: int) -> None:
    request, claimed = example()
    changed = b"b" if request.body[position : position + 1] != b"b" else b"c"
    request.body = request.body[:position] + changed + request.body[position + 1 :]
    with pytest.raises(S3Error) as caught:
        open_body(request, claimed)
    assert caught.value.code == "SignatureDoesNotMatch"
