# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a key file for one run, with a random password, that opens in a moment. It never leaves the node.

restic works for half a second at every start to open a key that guards a password of a person (scrypt). One run starts
restic many times, on a copy of single objects and on a view; there a random password of 256 bits does as well.

The format: https://github.com/restic/restic/blob/master/doc/design.rst, "Keys, Encryption and MAC".

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from .cli import Restic

try:
    # ansible-core depends on it, but the Python that runs a module may be another one than that of ansible-core.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.poly1305 import Poly1305

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False

# The least that restic takes; a random password needs no slow function.
_COST = {"N": 2, "r": 8, "p": 1}
_IV, _SALT = 16, 64


@dataclass(frozen=True)
class QuickKey:
    """A key file: its name below keys/, its content, and the password that opens it."""

    name: str
    content: bytes
    password: str = field(repr=False)

    @property
    def objects(self) -> dict[str, bytes]:
        """The file by its key below the prefix."""
        return {f"keys/{self.name}": self.content}

    def opens(self, restic: Restic) -> Restic:
        """The same restic, which uses this key."""
        return restic.opened_by(self.name, self.password)


def quick_key(restic: Restic) -> Optional[QuickKey]:
    """Make a key file for a repository that restic can open; None where this Python cannot encrypt.

    Args:
        restic: restic for the repository, or for a copy that has its config and its key.

    Raises:
        ResticError: The repository cannot be opened.
    """
    if not HAS_CRYPTOGRAPHY:
        return None
    # With restic's cache, which is made by this: processes that make one side by side find each other's half made.
    master = restic.parse("cat masterkey", restic.succeed(["cat", "masterkey", "--no-lock"]).stdout)
    password, salt = secrets.token_urlsafe(32), os.urandom(_SALT)
    derived = hashlib.scrypt(password.encode(), salt=salt, n=_COST["N"], r=_COST["r"], p=_COST["p"], dklen=64)
    content = json.dumps(
        {
            "created": "2000-01-01T00:00:00Z",
            "username": "holdfast",
            "hostname": "maintenance node",
            "kdf": "scrypt",
            **_COST,
            "salt": base64.b64encode(salt).decode(),
            "data": base64.b64encode(_sealed(derived, master)).decode(),
        }
    ).encode()
    return QuickKey(hashlib.sha256(content).hexdigest(), content, password)


def _sealed(key: bytes, master: Mapping[str, Any]) -> bytes:
    """AES-256 in counter mode, and Poly1305-AES over it."""
    encrypt, mac_k, mac_r = key[:32], key[32:48], key[48:]
    iv = os.urandom(_IV)
    counter = Cipher(algorithms.AES(encrypt), modes.CTR(iv)).encryptor()
    sealed = counter.update(json.dumps(master).encode()) + counter.finalize()
    # Poly1305-AES makes its one-time key of one block (https://cr.yp.to/mac.html).
    block = Cipher(algorithms.AES(mac_k), modes.ECB()).encryptor()
    once = block.update(iv) + block.finalize()
    return iv + sealed + Poly1305.generate_tag(mac_r + once, sealed)
