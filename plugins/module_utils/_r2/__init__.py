# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clients of Cloudflare R2: its REST API and its S3 API, buckets, lifecycle rules, temporary credentials and the rate limit.

May import: `_common`. Callers use `Cloudflare`, `S3`.

Private to holdfast.restic_r2; may change at any time.
"""
