#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_credentials
short_description: Keep secrets on a host as systemd credentials
version_added: 0.1.0
description:
  - Writes secrets into files of one folder that only their owner may enter, for the options C(LoadCredential=) and
    C(LoadCredentialEncrypted=) of systemd's units.
  - Encrypted files are bound to the host, and to its TPM where there is one; a copy of the disk's files alone does not
    reveal them. They are compared by their secret, so that a second run changes nothing.
  - No secret is returned or shown in a diff.
author:
  - The holdfast.restic_r2 maintainers (!UNKNOWN)
extends_documentation_fragment:
  - holdfast.restic_r2.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Only the names of credentials are shown.
  idempotent:
    support: full
options:
  directory:
    description:
      - The folder of the files. It is made with mode 0700, and removed when nothing else is left in it.
    type: path
    required: true
  credentials:
    description:
      - Names of credentials, and their secrets.
      - An encrypted file has the suffix C(.cred).
    type: dict
    required: true
  encrypt:
    description:
      - V(auto) encrypts where the host runs systemd and has C(systemd-creds), which came with systemd 250.
    type: str
    choices: [auto, always, never]
    default: auto
  owner:
    description:
      - The owner of folder and files. Not changed when not given.
    type: str
  group:
    description:
      - The group of folder and files. Not changed when not given.
    type: str
  state:
    description:
      - V(absent) removes the credentials that are named.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Hand over a password
  holdfast.restic_r2.host_credentials:
    directory: /etc/example
    credentials:
      password: "{{ vault_password }}"
  no_log: true
  register: written

# The unit then holds
# LoadCredentialEncrypted=password:/etc/example/password.cred   when written.encrypted, else
# LoadCredential=password:/etc/example/password
"""

RETURN = r"""
encrypted:
  description:
    - Whether the files are encrypted.
  returned: success
  type: bool
written:
  description:
    - The names of the credentials that were not on the host as they should be.
  returned: success
  type: list
  elements: str
  sample: [password]
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._common.errors import HoldfastError
from ..module_utils._hosts.credentials import Credential, CredentialsError, can_encrypt


def attributes_differ(module: AnsibleModule, path: str, mode: str) -> bool:
    """Give a path its owner, group and mode; whether they were others."""
    arguments = module.load_file_common_arguments({**module.params, "mode": mode}, path=path)
    return module.set_fs_attributes_if_different(arguments, False)


def keep(module: AnsibleModule, credential: Credential, secret: bytes) -> bool:
    """Make one file hold the secret; whether something was to do."""
    differs = credential.read() != secret or os.path.exists(credential.other_path)
    if module.check_mode and not os.path.exists(credential.path):
        return True
    if differs and not module.check_mode:
        credential.write(secret)
        if os.path.exists(credential.other_path):
            os.unlink(credential.other_path)
    return attributes_differ(module, credential.path, "0600") or differs


def present(module: AnsibleModule, credentials: dict[Credential, bytes]) -> tuple[bool, list[str]]:
    """Folder and files as they should be; whether something was to do, and which credentials were."""
    folder = module.params["directory"]
    changed = not os.path.isdir(folder)
    if changed and module.check_mode:
        return True, [credential.name for credential in credentials]
    if not module.check_mode:
        for credential in credentials:
            credential.discard()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    changed = attributes_differ(module, folder, "0700") or changed
    written = [credential.name for credential, secret in credentials.items() if keep(module, credential, secret)]
    return changed or bool(written), written


def absent(module: AnsibleModule, credentials: dict[Credential, bytes]) -> tuple[bool, list[str]]:
    """No file of these credentials; whether there was one, and which."""
    removed = set()
    for credential in credentials:
        for path in (credential.path, credential.other_path, credential.partial_path):
            if os.path.lexists(path):
                removed.add(credential.name)
                if not module.check_mode:
                    os.unlink(path)
    folder = module.params["directory"]
    if not module.check_mode and os.path.isdir(folder) and not os.listdir(folder):
        os.rmdir(folder)
        return True, sorted(removed)
    return bool(removed), sorted(removed)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "credentials": {"type": "dict", "required": True, "no_log": True},
            "encrypt": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wish = module.params["encrypt"]
    encrypted = wish == "always" or (wish == "auto" and can_encrypt())
    credentials = {
        Credential(module.params["directory"], name, encrypted): str(secret).encode()
        for name, secret in module.params["credentials"].items()
    }
    act = present if module.params["state"] == "present" else absent
    try:
        changed, names = act(module, credentials)
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        module.fail_json(msg=str(CredentialsError(f"{error.filename} cannot be changed: {error.strerror}.")))
    after = "".join(f"{name}: {'new value' if act is present else 'removed'}\n" for name in names)
    module.exit_json(changed=changed, encrypted=encrypted, written=names, diff={"before": "", "after": after})


if __name__ == "__main__":
    main()
