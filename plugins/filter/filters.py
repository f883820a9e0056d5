# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names functions of plugin_utils and module_utils as filters; each is documented in a file of its own name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..module_utils._common.untrusted import shown
from ..module_utils._r2.places import default_bucket, s3_address
from ..plugin_utils import (
    _account,
    _architectures,
    _check_and_drill_tables,
    _homes,
    _job_units,
    _jobs,
    _journal_entries,
    _message_texts,
    _tables,
)


class FilterModule:
    """The filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "account_options": _account.account_options,
            "check_report": _check_and_drill_tables.check_report,
            "drill_plan": _jobs.drill_plan,
            "drill_report": _check_and_drill_tables.drill_report,
            "bucket_name": default_bucket,
            "failure_text": _tables.failure_text,
            "shown": shown,
            "commands_read_homes": _homes.commands_read_homes,
            "reads_homes": _homes.reads_homes,
            "restic_architecture": _architectures.restic_architecture,
            "journal_calls": _journal_entries.journal_calls,
            "journal_notes": _journal_entries.journal_notes,
            "runs_commands": _job_units.runs_commands,
            "s3_endpoint": s3_address,
            "jobs_on_host": _jobs.jobs_on_host,
            "jobs_to_judge": _jobs.jobs_to_judge,
            "guard_message": _message_texts.guard_message,
            "jobs_to_restore": _jobs.jobs_to_restore,
            "maintenance_report": _tables.maintenance_report,
            "maintenance_results": _tables.maintenance_results,
            "orphan_notes": _tables.orphan_notes,
            "relock_report": _tables.relock_report,
            "report_table": _tables.report_table,
            "restore_report": _tables.restore_report,
            "restore_table": _tables.restore_table,
            "run_message": _message_texts.run_message,
            "site_next": _tables.site_next,
            "site_report": _tables.site_report,
            "snapshot_table": _tables.snapshot_table,
            "unit_word": _job_units.unit_word,
            "verify_report": _tables.verify_report,
        }
