# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renders the units of jobs; which there are is thought out in plugin_utils."""

from __future__ import annotations

DOCUMENTATION = r"""
name: job_units
short_description: Write the systemd units of backup jobs
version_added: 0.1.0
description:
  - Writes the units that a host has for its jobs, from the templates of the role P(holdfast.restic_r2.backup#role), which is the
    one that uses this.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
options:
  _terms:
    description: Jobs, as in the variable C(backup_jobs).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the units of all jobs
  holdfast.restic_r2.host_units:
    units: "{{ lookup('holdfast.restic_r2.job_units', backup_jobs) }}"
    owned: ['holdfast-backup@*.service']
"""

RETURN = r"""
_raw:
  description: The contents of the units, by their names.
  type: dict
"""

from typing import Any

from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

from ..plugin_utils._job_units import units_of


class LookupModule(LookupBase):
    """The units of jobs, as dictionaries of one."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[dict[str, str]]:
        template = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        return [
            {
                unit.name: template.run([unit.template], variables=variables, template_vars={"job": unit.job})[0]
                for jobs in terms
                for unit in units_of(jobs)
            }
        ]
