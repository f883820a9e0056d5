# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put restic's own REST server at .cache/restic/rest-server, which tests compare our view of a repository with.

From PATH, else from Debian's unstable suite, as restic is had there.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tools.get_restic import CACHE, Unavailable, package_from_debian

TARGET = CACHE / "rest-server"
# Debian's name of the program, and upstream's.
NAMES = ("restic-rest-server", "rest-server")


def find() -> str | None:
    """The program, if it is there."""
    return next((path for path in (str(TARGET), *NAMES) if shutil.which(path)), None)


def get() -> int:
    if find():
        return 0
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        try:
            unpacked = package_from_debian(Path(folder), "restic-rest-server")
            found = next(path for name in NAMES if (path := unpacked / "usr" / "bin" / name).is_file())
            found.replace(TARGET)
        except (Unavailable, OSError, StopIteration) as error:
            print(
                f"SKIPPED: restic's REST server could not be had, nothing is compared with it: {error}", file=sys.stderr
            )
    return 0


if __name__ == "__main__":
    sys.exit(get())
