# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes the options by which modules reach the account from the settings of the role `repository`. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Those of the doc fragment cloudflare which a role sets.
OPTIONS = ("account_id", "api_token", "api_url", "proxy", "no_proxy", "ca_file", "jurisdiction")


def account_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are set; the others are left to the modules, which know the environment of the node.

    A setting that was not read is an error: without its jurisdiction or proxy, a module would go elsewhere.
    """
    missing = [name for name in OPTIONS if name not in settings]
    if missing:
        raise ValueError(f"These settings were not read: {', '.join(missing)}.")
    return {name: settings[name] for name in OPTIONS if settings[name]}
