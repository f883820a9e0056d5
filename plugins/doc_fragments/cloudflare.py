# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  account_id:
    description:
      - The Cloudflare account that owns the bucket, 32 hexadecimal digits.
      - When not set, the environment variable E(CLOUDFLARE_ACCOUNT_ID) is used.
    type: str
  api_token:
    description:
      - The value of an API token with the permission C(Workers R2 Storage Write) on the account;
        C(Workers R2 Storage Read) is enough for modules that only read.
      - This token can lift every lock of the account. It belongs on the maintenance node only, never on a backed-up host.
      - When not set, the environment variable E(CLOUDFLARE_API_TOKEN) is used.
    type: str
  api_url:
    description:
      - Where Cloudflare's API is reached. Change it for a proxy or for tests.
      - When not set, the environment variable E(CLOUDFLARE_API_BASE_URL) is used.
    type: str
    default: https://api.cloudflare.com/client/v4
  api_timeout:
    description:
      - How long to wait for one answer of the API, in seconds. Raise it behind a slow proxy.
    type: int
    default: 30
  jurisdiction:
    description:
      - The jurisdiction of the bucket, V(default), V(eu), V(fedramp) or V(us). Another one is refused before anything is
        contacted, because R2 would be asked in vain for half a minute.
      - One that R2 got after this release is taken when the environment variable E(HOLDFAST_JURISDICTIONS) of the module names
        it; several are separated by commas.
      - A bucket of another jurisdiction looks as if it did not exist.
    type: str
    default: default
  proxy:
    description:
      - The address of the proxy through which the API, the buckets and restic's repository are reached, as in
        V(http://proxy.example.com:3128). It may hold a user and a password.
      - When not set, the proxy variables in the environment of the module count (E(HTTPS_PROXY) and others).
    type: str
  no_proxy:
    description:
      - Names of hosts and domains that are reached without the proxy. This machine itself always is.
    type: list
    elements: str
    default: []
  ca_file:
    description:
      - A file with the certificates of all authorities that count, in PEM format, in the place of those of the machine; for a
        proxy that opens encrypted connections, or a service with certificates of its own.
      - It is on the machine that runs the module.
    type: path
"""
