# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody who owns a host can do to its backups, done: against plain restic, and against this collection.

Each attack is a test (`make attacks`); at the end there is a table of what was lost and what was noticed on both sides, and
.results/attacks.json.
"""

from __future__ import annotations

import sys

from tests.support.running import link_collection

# The attacks import the collection, as a user's Ansible does.
sys.path.insert(0, str(link_collection()))
