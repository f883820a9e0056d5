# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic's repository format, as far as it takes to make objects that restic accepts as its own.

For tests only. Source: restic's doc/design.rst, "Keys, Encryption and MAC", "Unpacked Data Format", "Indexing".
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

# What encryption adds to a text: the initial vector before it and the authentication code after it, in bytes.
OVERHEAD = 32
_IV = 16
# A pack's header: its length as a number, and an entry for each blob that is stored as it is, in bytes.
_HEADER_LENGTH = 4
_ENTRY, _ENTRY_COMPRESSED = 37, 41


@dataclass(frozen=True)
class Key:
    """A key for encryption and authentication: that of a repository, or one made of a password."""

    encrypt: bytes
    mac_k: bytes
    mac_r: bytes

    @classmethod
    def random(cls) -> Key:
        return cls(os.urandom(32), os.urandom(16), os.urandom(16))

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Key:
        """From what `restic cat masterkey` prints."""
        texts = (document["encrypt"], document["mac"]["k"], document["mac"]["r"])
        return cls(*(base64.b64decode(text) for text in texts))

    @classmethod
    def from_password(cls, password: str, salt: bytes, n: int, r: int, p: int) -> Key:
        derived = hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, dklen=64, maxmem=2**28)
        return cls(derived[:32], derived[32:48], derived[48:])

    def as_json(self) -> dict[str, Any]:
        encrypt, k, r = (base64.b64encode(part).decode() for part in (self.encrypt, self.mac_k, self.mac_r))
        return {"mac": {"k": k, "r": r}, "encrypt": encrypt}

    def seal(self, text: bytes) -> bytes:
        """Encrypt with AES-256 in counter mode, authenticate with Poly1305-AES."""
        iv = os.urandom(_IV)
        counter = Cipher(algorithms.AES(self.encrypt), modes.CTR(iv)).encryptor()
        sealed = counter.update(text) + counter.finalize()
        # The one block that makes the one-time key of Poly1305 is what Poly1305-AES is defined by.
        block = Cipher(algorithms.AES(self.mac_k), modes.ECB()).encryptor()
        once = block.update(iv) + block.finalize()
        return iv + sealed + Poly1305.generate_tag(self.mac_r + once, sealed)

    def seal_json(self, document: Any) -> bytes:
        """An index, a snapshot or a lock; what begins with a brace is read as not compressed."""
        return self.seal(json.dumps(document, separators=(",", ":")).encode())


def inflated(head: bytes, tail: bytes, size: int, fill: bytes = b" ") -> bytes:
    """A compressed text (Zstandard, RFC 8878) that becomes this large when it is read: 4 bytes for each 128 KiB.

    Args:
        head: How the text begins.
        tail: How it ends.
        size: The bytes in between, a multiple of 128 KiB.
        fill: The one byte of which they are.
    """
    frame = bytearray(b"\x28\xb5\x2f\xfd\x00\x50")
    blocks = [(0, len(head), head), *[(1, 1 << 17, fill)] * (size >> 17), (0, len(tail), tail)]
    for number, (kind, length, body) in enumerate(blocks, 1):
        frame += (length << 3 | kind << 1 | (number == len(blocks))).to_bytes(3, "little") + body
    return b"\x02" + bytes(frame)


def name_of(content: bytes) -> str:
    """The name under which restic looks for this content."""
    return hashlib.sha256(content).hexdigest()


def key_object(password: str, master: Key, *, n: int = 1024, r: int = 8, p: int = 1, claim: Any = None) -> bytes:
    """A key file that opens with the password.

    Args:
        password: What it opens with.
        master: The key that is found in it.
        n, r, p: The cost of opening it. The default costs a few milliseconds, restic itself takes half a second.
        claim: What the file says the cost is, in place of the truth: a mapping of N, r, p.
    """
    salt = os.urandom(64)
    data = Key.from_password(password, salt, n, r, p).seal(json.dumps(master.as_json()).encode())
    document = {
        "created": "2026-01-01T00:00:00Z",
        "username": "root",
        "hostname": "web1",
        "kdf": "scrypt",
        "N": n,
        "r": r,
        "p": p,
        **(claim or {}),
        "salt": base64.b64encode(salt).decode(),
        "data": base64.b64encode(data).decode(),
    }
    return json.dumps(document).encode()


def header_size(blobs: list[dict[str, Any]]) -> int:
    """The size of the header of a pack with these blobs, in bytes."""
    entries = (_ENTRY_COMPRESSED if blob.get("uncompressed_length") else _ENTRY for blob in blobs)
    return sum(entries) + OVERHEAD + _HEADER_LENGTH


def pack_size(blobs: list[dict[str, Any]]) -> int:
    """The size that an index implies for a pack with these blobs, in bytes."""
    return sum(int(blob["length"]) for blob in blobs) + header_size(blobs)
