# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the other figures were measured with and on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from bench._scene import MEBIBYTE, restic_path
from tools import get_restic


def measure() -> dict[str, Any]:
    """Facts, and the load of the machine, which says how much it was disturbed."""
    return {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MEBIBYTE,
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "ansible_core": version("ansible-core"),
        "restic": ".".join(map(str, get_restic.version(restic_path()))),
    }
