# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists the variables that begin with holdfast_, all that roles and playbooks read; a test holds it against them. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

NAMES = (
    "holdfast_accept_by", "holdfast_accept_findings", "holdfast_accept_reason",
    "holdfast_access_key_id", "holdfast_account_id", "holdfast_api_token", "holdfast_api_url", "holdfast_bucket",
    "holdfast_buckets", "holdfast_ca_file", "holdfast_cache_dir", "holdfast_check_journal", "holdfast_check_seconds",
    "holdfast_contact_timeout",
    "holdfast_drill_bytes", "holdfast_drill_dir", "holdfast_drill_job", "holdfast_drill_on", "holdfast_drill_seconds",
    "holdfast_drilled_within",
    "holdfast_evidence", "holdfast_evidence_key", "holdfast_expected_hosts", "holdfast_expected_paths", "holdfast_fence",
    "holdfast_fence_seconds", "holdfast_first_read_limit", "holdfast_grace", "holdfast_heartbeat",
    "holdfast_heartbeat_url",
    "holdfast_hold", "holdfast_hosts", "holdfast_jurisdiction", "holdfast_jurisdictions", "holdfast_key_id",
    "holdfast_limit_download",
    "holdfast_list_most",
    "holdfast_location_hint", "holdfast_lock_wait",
    "holdfast_longest_backup", "holdfast_maintenance", "holdfast_manage_tokens", "holdfast_max_age", "holdfast_metrics_file",
    "holdfast_max_fail_percentage", "holdfast_new_password", "holdfast_no_proxy", "holdfast_notify", "holdfast_notify_success",
    "holdfast_node", "holdfast_node_python",
    "holdfast_open_timeout",
    "holdfast_orphan_buckets", "holdfast_parent_access_key_id", "holdfast_parent_secret_access_key", "holdfast_password",
    "holdfast_password_step", "holdfast_prefix", "holdfast_probe_wait", "holdfast_protected_snapshots",
    "holdfast_proxy", "holdfast_record_dir",
    "holdfast_read_within", "holdfast_recover", "holdfast_relock_fail_when_closed",
    "holdfast_relock_force", "holdfast_relock_wait", "holdfast_remove_findings", "holdfast_remove_keys_file",
    "holdfast_remove_stored_since", "holdfast_report_dir", "holdfast_report_mode", "holdfast_report_price",
    "holdfast_report_silence", "holdfast_repository_timeout", "holdfast_restic_path",
    "holdfast_restore_confinement", "holdfast_restore_exclude", "holdfast_restore_host", "holdfast_restore_include",
    "holdfast_restore_include_patterns",
    "holdfast_restore_job",
    "holdfast_restore_overwrite", "holdfast_restore_paths", "holdfast_restore_roots", "holdfast_restore_seconds",
    "holdfast_restore_snapshot", "holdfast_restore_special", "holdfast_restore_target", "holdfast_restore_to",
    "holdfast_restore_to_others", "holdfast_retention", "holdfast_retention_time",
    "holdfast_retired_keep", "holdfast_s3_endpoint",
    "holdfast_scratch_dir", "holdfast_secret_access_key", "holdfast_serial", "holdfast_session_token",
    "holdfast_signals",
    "holdfast_state", "holdfast_storage_class", "holdfast_temporary_credentials", "holdfast_temporary_refresh",
    "holdfast_temporary_valid", "holdfast_token_former_seconds", "holdfast_token_id", "holdfast_token_maker",
    "holdfast_unlock_parts", "holdfast_unlock_reason", "holdfast_unlock_seconds",
    "holdfast_window_log", "holdfast_window_seconds",
)  # fmt: skip
