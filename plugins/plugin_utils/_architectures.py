# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Knows for which architectures restic has releases, and what it calls them. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ..module_utils._common.untrusted import shown

# What kernels call architectures, and what restic's releases call them.
ARCHITECTURES = {
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
    "i386": "386",
    "i686": "386",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
    "x86_64": "amd64",
}


def restic_architecture(machine: object) -> str:
    """The architecture of a release, from what a host says of itself: one of a closed list, or nothing."""
    try:
        return ARCHITECTURES[str(machine)]
    except KeyError:
        raise AnsibleFilterError(
            f"The host says that its architecture is {shown(machine, 60)!r}, for which restic has no release: set "
            "restic_architecture, or choose another restic_method."
        ) from None
