# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declares the options that several modules share, as argument specs; documented in plugins/doc_fragments.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

from ansible.module_utils.basic import env_fallback

API_URL = "https://api.cloudflare.com/client/v4"

# doc fragment: cloudflare
CLOUDFLARE = {
    "account_id": {"type": "str", "fallback": (env_fallback, ["CLOUDFLARE_ACCOUNT_ID"])},
    "api_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["CLOUDFLARE_API_TOKEN"])},
    "api_url": {"type": "str", "default": API_URL, "fallback": (env_fallback, ["CLOUDFLARE_API_BASE_URL"])},
    "api_timeout": {"type": "int", "default": 30},
    "jurisdiction": {"type": "str", "default": "default"},
    "proxy": {"type": "str", "no_log": True},
    "no_proxy": {"type": "list", "elements": "str", "default": []},
    "ca_file": {"type": "path"},
}

# doc fragment: s3
S3 = {
    "s3_endpoint": {"type": "str", "fallback": (env_fallback, ["AWS_ENDPOINT_URL_S3"])},
    "access_key_id": {"type": "str"},
    "secret_access_key": {"type": "str", "no_log": True},
    "session_token": {"type": "str", "no_log": True},
}

# doc fragment: host_keys
HOST_KEYS = {
    "host_access_key_id": {"type": "str"},
    "host_secret_access_key": {"type": "str", "no_log": True},
    "host_session_token": {"type": "str", "no_log": True},
}

# doc fragment: restic.place
PLACE = {
    "bucket": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
}

# doc fragment: restic
RESTIC = {
    **PLACE,
    "password": {"type": "str", "required": True, "no_log": True, "fallback": (env_fallback, ["RESTIC_PASSWORD"])},
    "key_id": {"type": "str", "no_log": False},
    "repository_id": {"type": "str"},
    "restic_path": {"type": "str", "default": "restic"},
    "cache_dir": {"type": "path"},
}

# doc fragment: fence
FENCE = {
    "lock_wait": {"type": "int", "default": 600},
    "fence": {"type": "str", "choices": ["auto", "never"], "default": "auto"},
    "fence_seconds": {"type": "int", "default": 60},
    "fence_api_token": {"type": "str", "no_log": True},
}

# What the modules that judge snapshots are told of each job; the node gives no such field to the host.
JOB = {
    "name": {"type": "str", "required": True},
    "paths": {"type": "list", "elements": "str", "required": True},
    "max_age": {"type": "float"},
    "retention": {"type": "dict"},
    "hold": {"type": "dict"},
}

# doc fragment: jobs
JOBS = {"jobs": {"type": "list", "elements": "dict", "default": [], "options": JOB}}
