# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hides secrets that are no parameters of a module, but made of them, or told by a service.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from ansible.module_utils.secrets import register_secrets  # type: ignore[import-not-found]
except ImportError:  # before ansible-core 2.22
    register_secrets = None


def hider(module: Any) -> Callable[[str], object]:
    """Return a function that is given such secrets, so that nothing that the module returns or logs shows them.

    ansible-core takes what is in no_log_values out of results up to 2.21; from 2.22 on, what was registered.

    Args:
        module: The AnsibleModule.
    """

    def hide(secret: str) -> None:
        module.no_log_values.add(secret)
        if register_secrets is not None:
            register_secrets([secret])

    return hide
