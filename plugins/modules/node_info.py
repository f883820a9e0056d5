#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_info
short_description: See whether a machine can be the maintenance node
version_added: 0.1.0
description:
  - Fails unless boto3 and restic are there and recent enough for all that is done on the maintenance node. The playbook C(site)
    begins with it, so that nothing is created that could not be maintained afterwards.
  - Contacts no other machine.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.attributes
  - holdfast.restic_r2.attributes.info_module
options:
  restic_path:
    description:
      - The restic program, a name on the search path or a full path.
    type: str
    default: restic
seealso:
  - module: holdfast.restic_r2.restic_prune
"""

EXAMPLES = r"""
- name: Refuse a maintenance node that is too old
  holdfast.restic_r2.node_info:
  delegate_to: localhost
"""

RETURN = r"""
restic_version:
  description: The version of restic.
  returned: success
  type: str
  sample: 0.19.1
boto3_version:
  description: The version of boto3, in the Python that ran this module.
  returned: success
  type: str
  sample: 1.40.0
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actions.node_programs import versions
from ..module_utils._common.errors import HoldfastError


def main() -> None:
    module = AnsibleModule(
        argument_spec={"restic_path": {"type": "str", "default": "restic"}}, supports_check_mode=True
    )
    try:
        found = versions(module.params["restic_path"])
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
