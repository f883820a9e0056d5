# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks whether a machine has the programs that a maintenance node needs.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from .._common.errors import HoldfastError
from .._r2.s3 import boto3_problem, boto3_version
from .._restic.cli import MAINTENANCE_MINIMUM, Repository, Restic


class NodeError(HoldfastError):
    """The machine cannot be the maintenance node."""


def versions(restic_path: str) -> dict[str, str]:
    """The versions of the needed programs.

    Raises:
        HoldfastError: Something is missing, or too old.
    """
    problem = boto3_problem()
    if problem:
        raise NodeError(f"This machine cannot be the maintenance node: {problem}")
    # It is only asked for its version, for which no repository is needed.
    restic = Restic(Repository("", "", "", "", "", None, password=""), path=restic_path)
    restic.require(MAINTENANCE_MINIMUM, "The maintenance node")
    return {"restic_version": ".".join(map(str, restic.version())), "boto3_version": boto3_version()}
