# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real restic, whose new repositories have a key that opens in a moment.

With its own key, restic works for half a second each time that it starts, which has nothing to do with what is tested.
Everything but `init` is run by restic itself.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.holdfast.restic_r2.plugins.module_utils._r2.s3 import S3

from tests.support.repository_format import Key, key_object, name_of
from tests.support.running import COLLECTIONS, ROOT


def quick_restic(folder: Path, restic: str) -> str:
    """Write the program into a folder; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "restic"
    init = [f"PYTHONPATH={ROOT}:{COLLECTIONS}", sys.executable, "-m", __name__, restic]
    text = f"""#!/bin/sh
case " $* " in *" init "*) exec env {shlex.join(init)} "$@";; esac
exec {shlex.quote(restic)} "$@"
"""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def replace_keys(s3: S3, prefix: str, password: str, master: Key, above: str = "") -> None:
    """Give a repository one cheap key of the same password in place of all that it has.

    Args:
        above: What the key's name must be greater than, for those who want to come before it.
    """
    content = key_object(password, master)
    while name_of(content) < above:
        content = key_object(password, master)
    old = [item.key for item in s3.iterate(f"{prefix}keys/")]
    s3.put_if(f"{prefix}keys/{name_of(content)}", content)
    for key in old:
        s3.delete(key)


def _replace_files(keys: Path, master: Key) -> None:
    for old in list(keys.iterdir()):
        old.unlink()
    content = key_object(os.environ["RESTIC_PASSWORD"], master)
    (keys / name_of(content)).write_bytes(content)


def main(restic: str, *arguments: str) -> int:
    """Run `restic init` and replace the key that it has made."""
    done = subprocess.run([restic, *arguments], check=False)
    if done.returncode:
        return done.returncode
    shown = subprocess.run(
        [restic, "cat", "masterkey", "-q", "--no-cache"], check=True, stdout=subprocess.PIPE, text=True
    )
    master = Key.from_json(json.loads(shown.stdout))
    if os.environ["RESTIC_REPOSITORY"].startswith("/"):
        _replace_files(Path(os.environ["RESTIC_REPOSITORY"], "keys"), master)
        return 0
    address = urlsplit(os.environ["RESTIC_REPOSITORY"].removeprefix("s3:"))
    bucket, _slash, prefix = address.path.strip("/").partition("/")
    s3 = S3(
        f"{address.scheme}://{address.netloc}",
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
        bucket=bucket,
    )
    replace_keys(s3, f"{prefix}/" if prefix else "", os.environ["RESTIC_PASSWORD"], master)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
