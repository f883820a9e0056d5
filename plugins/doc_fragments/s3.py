# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  s3_endpoint:
    description:
      - The S3 endpoint of the account.
      - When not set, the environment variable E(AWS_ENDPOINT_URL_S3) is used, and without that the endpoint that belongs
        to O(account_id) and O(jurisdiction).
    type: str
  access_key_id:
    description:
      - The access key id, which is the id of the API token that the key pair was derived from.
      - When not set, it is looked up with O(api_token), at the price of one API call.
    type: str
  secret_access_key:
    description:
      - The secret access key.
      - When not set, it is derived from O(api_token).
    type: str
  session_token:
    description:
      - The session token, for temporary credentials only.
    type: str
"""
