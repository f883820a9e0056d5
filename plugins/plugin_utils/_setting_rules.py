# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the values of single settings, beyond their types. Pure.

Each rule raises ValueError with what is said behind the option's name. systemd drops a value that it does not understand, with
a line in its log, and goes on without a limit; so the forms of its sizes and durations are known here.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..module_utils._audit.checks import parse_limit
from ..module_utils._audit.signals import Limits
from ..module_utils._common.dates import parse_date
from ..module_utils._common.durations import parse_duration
from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.untrusted import shown
from ..module_utils._r2.places import is_bucket, jurisdictions
from ..module_utils._restic.jobs import TAG
from ..module_utils._restic.retention import COUNTED
from ..module_utils._restic.retention_plan import hold_from, protected_from
from ._calendar import is_event, nearest
from ._job_rules import byte_size, extra_argument, file_name, job_name, marker_file, user_name
from ._place_rules import (
    CLASSES,
    HINTS,
    absolute,
    absolute_or_none,
    batch,
    expression,
    folder_of_node,
    included,
    one_of,
    prefix,
    program,
    source,
)
from ._report_rules import address, file_mode, metrics_file, period

# systemd.time(7). "M" is a month, "m" a minute.
UNITS = (
    "seconds", "second", "sec", "s", "minutes", "minute", "min", "m", "months", "month", "M", "msec", "ms", "hours", "hour", "hr",
    "h", "days", "day", "d", "weeks", "week", "w", "years", "year", "y", "usec", "us", "µs",
)  # fmt: skip
CRON = re.compile(r"(?:[0-9*/,-]+\s+){4}[0-9A-Za-z*/,-]+")


def _said(text: Any) -> str:
    return repr(shown(text, 80))


def timespan(text: str) -> None:
    """A duration as systemd reads it."""
    if text == "infinity" or re.fullmatch(r"\s*[0-9]+(?:\.[0-9]+)?\s*", text):
        return
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*([^\W\d_]*)\s*", text)
    if not parts or "".join(re.split(r"\s+", "".join(map("".join, parts)))) != "".join(text.split()):
        raise ValueError(
            f"is {_said(text)}, which is no duration for systemd: write a number with a unit, as in 90min or 12h"
        )
    for number, unit in parts:
        if unit and unit not in UNITS:
            # The unit of which the wrong one begins with most letters: hrs is hr.
            near = next((known for known in (unit[:end] for end in range(len(unit), 0, -1)) if known in UNITS), "")
            near = near or next(iter(difflib.get_close_matches(unit.lower(), UNITS, 1)), "h")
            raise ValueError(f"is {_said(text)}, and systemd knows no unit {_said(unit)}: write {number}{near}")


def calendar(text: str) -> None:
    """A time or times as systemd reads them; it would start a job with others never."""
    if not text.strip():
        raise ValueError('is empty: write for example daily, or "*-*-* 03:00:00"')
    if CRON.fullmatch(text.strip()):
        raise ValueError(
            f'is {_said(text)}, which is for cron and not for systemd: write for example "*-*-* 03:00:00" (see systemd.time)'
        )
    if text.strip().isdigit():
        raise ValueError(f'is the number {text}: write a time in quotes, as in "12:30"')
    if not is_event(text):
        write = nearest(text) or 'for example "Mon..Fri 03:00" (see systemd.time)'
        raise ValueError(f"is {_said(text)}, which is no time for systemd: write {write}")


def go_duration(text: str) -> None:
    """A duration as restic reads it for --retry-lock."""
    if text != "0" and not re.fullmatch(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+", text):
        raise ValueError(
            f"is {_said(text)}, which is no duration for restic: write hours, minutes and seconds, as in 1h30m or 45s"
        )


def cpu_quota(text: str) -> None:
    if not re.fullmatch(r"(?!0+(?:\.0+)?%)[0-9]+(?:\.[0-9]{1,2})?%", text):
        number = re.match(r"[0-9]+", text)
        raise ValueError(
            f"is {_said(text)}, and systemd takes a percentage above 0: write {int(number[0]) or 50 if number else 50}%"
        )


def memory_max(text: str) -> None:
    if text == "infinity" or re.fullmatch(r"[0-9]+(?:\.[0-9]+)?[KMGTPE]?|[0-9]+(?:\.[0-9]{1,2})?%", text):
        return
    size = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGTPEkmgtpe])(?:i?[Bb])?", text)
    write = f"{size[1]}{size[2].upper()}" if size else "a number with K, M, G or T, as in 2G"
    raise ValueError(f"is {_said(text)}, which is no size for systemd: write {write}")


def between(low: int, high: int | None = None) -> Callable[[float], None]:
    """A rule for numbers."""

    def rule(number: float) -> None:
        if number is not None and (number < low or (high is not None and number > high)):
            limits = f"a number from {low} to {high}" if high is not None else f"{low} or more"
            raise ValueError(f"is {number}: write {limits}")

    return rule


def jobs_as_a_whole(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Problems between jobs that are each well, in sentences."""
    if not jobs:
        none = "This host has no backup_jobs, so that nothing of it would be backed up: write jobs, or holdfast_state: absent"
        return [f"{none} to remove what the roles made."]
    problems = twins(jobs)
    for job in jobs:
        has = [part for part in ("paths", "command") if job.get(part)]
        if len(has) != 1:
            found = "has both paths and command" if has else "has neither paths nor command"
            problems.append(f"backup_jobs, job {job['name']} {found}: write one of them.")
    return problems


def twins(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with jobs of one name, in sentences."""
    names = [job["name"] for job in jobs]
    return [
        f"backup_jobs has more than one job {name}: write a name of its own for each."
        for name in sorted(set(names))
        if names.count(name) > 1
    ]


def tag(text: str) -> None:
    if "," in text:
        raise ValueError(f"has {_said(text)}, and restic splits tags at commas: write an entry for each tag")
    # restic leaves out white space around a tag.
    if text.strip().startswith(TAG):
        raise ValueError(f"has {_said(text)}, and {TAG} begins the tag that each job sets itself: write another tag")


def jurisdiction(text: str) -> None:
    """One that R2 has; the environment may name more, which is read when the rule is asked."""
    one_of(*jurisdictions())(text)


def bucket(text: str) -> None:
    """The names that R2 takes."""
    if text and not is_bucket(text):
        proposed = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
        as_in = f", as in {proposed}" if len(proposed) > 2 else ""
        raise ValueError(
            f"is {_said(text)}, and R2 takes no such bucket: write 3 to 63 small letters, digits and dashes{as_in}"
        )


def account(text: str) -> None:
    if text and not re.fullmatch(r"[0-9a-f]{32}", text):
        raise ValueError(
            f"is {_said(text)} and no account id: write the 32 hexadecimal digits that Cloudflare's dashboard shows"
        )


def url(text: str) -> None:
    if text and not re.fullmatch(r"https?://[^\s/]+\S*", text):
        raise ValueError("is no address: write it with https:// in front, and without blanks")


def proxy(text: str) -> None:
    """It may hold a password, so nothing of it is shown."""
    if text and not re.fullmatch(r"https?://[^\s/]+/?", text):
        raise ValueError(
            "is no address of a proxy: write it with http:// in front and its port, without blanks or a path"
        )


def length_of_time(text: str) -> None:
    """A duration as restic and its retention read it."""
    try:
        parse_duration("" if text == "0" else text)
    except HoldfastError:
        number = (re.findall(r"[0-9]+", text) or ["7"])[0]
        raise ValueError(
            f"is {_said(text)}, which is no length of time: write years, months, days or hours, as in {number}d or 1y6m"
        ) from None


def days(text: str) -> None:
    """A length of time of a day or more, or none."""
    if not text:
        return
    length_of_time(text)
    if not re.fullmatch(r"(?=.*[ymd])(?!0+[ymd]).*", text):
        raise ValueError(f"is {_said(text)}, which is less than a day: write days, as in 90d")


def retention(words: Mapping[str, Any]) -> None:
    if not {str(value).strip() for name, value in words.items() if str(name).startswith("keep_")} - {"0", "", "[]"}:
        near = next((f"keep_{name}" for name in words if name in COUNTED), "keep_daily")
        raise ValueError(f"does not say which snapshots are kept: write for example {{{near}: 7}}")


def hold(words: Mapping[str, Any]) -> None:
    """Until when nothing is removed, and why."""
    if words:
        try:
            hold_from(words)
        except HoldfastError as error:
            raise ValueError(str(error).removeprefix("hold ").removesuffix(".")) from None


def length_to_keep(text: str) -> None:
    """A length of time after which something goes."""
    if text:
        length_of_time(text)
        if not any(parse_duration(text)):
            raise ValueError(
                f"is {_said(text)}, which is no time at all: write for example 1y, or nothing, to keep it for ever"
            )


def snapshot(text: str) -> None:
    if text != "latest" and not re.fullmatch(r"[0-9a-f]{8,64}", text):
        raise ValueError(
            f"is {_said(text)}: write latest, or in quotes the id of a snapshot, 8 to 64 hexadecimal digits, as the playbook "
            "list shows it"
        )


def moment(text: str) -> None:
    if text and parse_date(text) is None:
        raise ValueError(f"is {_said(text)}, which is no instant: write it in quotes, as in '2026-11-24T03:00:00Z'")


def share(text: str) -> None:
    """How many snapshots may go at once."""
    try:
        parse_limit(text, 0)
    except HoldfastError:
        raise ValueError(f"is {_said(text)}: write a number of snapshots, or a percentage, as in 50%") from None


def fingerprint(text: str) -> None:
    if not re.fullmatch(r"[0-9A-Fa-f]{40}", text):
        raise ValueError(
            f"is {_said(text)}, which is no fingerprint of a key: write its 40 hexadecimal digits without blanks"
        )


def checksums(given: Mapping[str, Any]) -> None:
    for architecture, sum_ in given.items():
        if not re.fullmatch(r"[0-9a-f]{64}", str(sum_)):
            raise ValueError(
                f"has no SHA-256 for {_said(architecture)}: write 64 hexadecimal digits in quotes, as in {{amd64: '…'}}"
            )


def snapshot_id(text: str) -> None:
    try:
        protected_from([text])
    except HoldfastError:
        raise ValueError(
            f"has {_said(text)}, which is no id of a snapshot: write 8 to 64 hexadecimal digits in quotes, as restic shows them"
        ) from None


def release(text: str) -> None:
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", text):
        raise ValueError(f"is {_said(text)}, which is no release of restic: write its three numbers, as in 0.19.1")


def secret(text: str) -> None:
    """Nothing of it is shown."""
    if text != text.strip() or "\n" in text or "\r" in text:
        raise ValueError(
            "begins or ends with white space, or has a line break, which restic leaves out of a file: write it without"
        )


def password(text: str) -> None:
    """Nothing of it is shown."""
    if not text:
        raise ValueError("is empty: write the password of the repository into holdfast_password, in a vault")
    secret(text)


def _of(rule: Callable[[Any], None], *names: str) -> dict[str, Callable[[Any], None]]:
    return dict.fromkeys(names, rule)


RETENTIONS = ("repository_retention", "backup_jobs.retention")
RULES: dict[str, Callable[[Any], None]] = {
    **_of(timespan, "backup_timeout", "backup_jobs.timeout", "backup_jobs.random_delay", "guard_timeout", "guard_random_delay"),
    **_of(calendar, "backup_jobs.on_calendar", "guard_on_calendar"),
    **_of(go_duration, "backup_retry_lock"),
    **_of(cpu_quota, "backup_jobs.cpu_quota"),
    **_of(memory_max, "backup_jobs.memory_max"),
    **_of(between(-20, 19), "backup_jobs.nice"),
    **_of(between(1, 10000), "backup_jobs.io_weight"),
    **_of(between(0), "backup_contact_timeout", "credentials_contact_timeout", "restic_contact_timeout"),
    **_of(between(0), "backup_jobs.limit_upload", "backup_reruns", "repository_probe_wait", "repository_fence_seconds",
          "repository_lock_wait", "repository_first_read_limit", "repository_limit_download", "repository_token_former_seconds",
          "backup_prove_retries"),
    **_of(between(1), "repository_list_most", "repository_check_seconds", "repository_drill_seconds",
          "repository_time_limit",
          "repository_open_timeout", "repository_window_seconds", "repository_abort_uploads_after_days", "backup_prove_timeout"),
    **_of(length_of_time, "repository_grace", *(f"{whose}.keep_within" for whose in RETENTIONS),
          *(f"{whose}.keep_within_{word}" for whose in RETENTIONS for word in COUNTED[1:])),
    **_of(retention, *RETENTIONS),
    **_of(between(-1), *(f"{whose}.keep_{word}" for whose in RETENTIONS for word in COUNTED)),
    **_of(hold, "repository_hold", "backup_jobs.hold"),
    **_of(between(0), "backup_jobs.max_age", "repository_max_age", "repository_longest_backup", "backup_lock_wait",
          "backup_jobs.drill.expect.size", "holdfast_contact_timeout", "holdfast_relock_wait"),
    **_of(between(1), "backup_jobs.drill.expect.count"),
    **_of(between(10, 14400), "repository_unlock_seconds"), **_of(between(240, 604140), "repository_restore_seconds"),
    **_of(between(900, 604800), "repository_temporary_valid"), **_of(between(1, 302400), "repository_temporary_refresh"),
    **_of(length_of_time, "backup_jobs.drill.expect.max_age"),
    **_of(expression, "backup_jobs.drill.expect.dated", "repository_orphan_buckets"),
    **_of(share, "repository_retention.max_remove"),
    **_of(snapshot, "repository_restore_snapshot"),
    **_of(moment, "repository_remove_stored_since", "repository_token_expires_on"),
    **_of(source, "repository_token_allowed_addresses"),
    **_of(fingerprint, "restic_release_fingerprint"), **_of(checksums, "restic_checksums"),
    **_of(length_to_keep, "repository_retired_keep"),
    **_of(snapshot_id, "repository_protected_snapshots"),
    **_of(days, "repository_read_within", "repository_drilled_within"),
    **_of(address, "repository_notify", "guard_notify"), **_of(url, "repository_heartbeat", "guard_heartbeat"),
    **_of(between(0, 1), *(f"repository_signals.{name}" for name in Limits.__dataclass_fields__)),
    **_of(between(10, 86400), "repository_signals.seconds"),
    **_of(folder_of_node, "repository_drill_dir", "repository_remove_keys_file", "restic_controller_cache",
          "restic_release_key", "repository_restore_target", "repository_restore_roots",
          "repository_record_dir", "repository_cache_dir", "repository_scratch_dir", "report_dir",
          "repository_window_log", "report_record_dir", "report_evidence_key", "guard_record_dir"),
    **_of(period, "report_evidence"),
    **_of(file_mode, "report_mode"), **_of(metrics_file, "repository_metrics_file", "guard_metrics_file"),
    **_of(between(0), "report_price"), **_of(between(1), "report_silence"),
    **_of(prefix, "repository_prefix", "backup_prefix"),
    **_of(jurisdiction, "repository_jurisdiction", "guard_jurisdictions", "holdfast_jurisdictions"),
    **_of(one_of(*HINTS), "repository_location_hint"), **_of(one_of(*CLASSES), "repository_storage_class"),
    **_of(program, "repository_restic_path", "repository_host_restic_path", "backup_restic_path", "guard_ansible_playbook"),
    **_of(batch, "holdfast_serial"), **_of(between(0, 100), "holdfast_max_fail_percentage"),
    **_of(release, "restic_version", "restic_minimum_version"),
    **_of(job_name, "backup_jobs.name"),
    **_of(user_name, "backup_jobs.user", "backup_user"),
    **_of(file_name, "backup_jobs.filename"),
    **_of(absolute, "backup_jobs.paths", "backup_jobs.exclude_files", "backup_writable_paths", "repository_expected_paths",
          "repository_restore_paths"),
    **_of(included, "repository_restore_include"),
    **_of(absolute_or_none, "backup_directory", "backup_settings", "backup_command", "backup_library", "backup_cache_directory",
          "backup_notes_directory", "backup_unit_directory", "backup_prove_directory", "credentials_directory", "guard_directory",
          "guard_command", "guard_unit_directory", "restic_path"),
    **_of(marker_file, "backup_jobs.exclude_if_present"),
    **_of(byte_size, "backup_jobs.exclude_larger_than", "backup_jobs.drill.bytes", "backup_jobs.drill.memory",
          "repository_drill_bytes"),
    **_of(between(4, 128), "backup_jobs.pack_size"),
    **_of(between(1, 1000), "backup_jobs.read_concurrency"),
    **_of(extra_argument, "backup_jobs.extra_args"),
    **_of(tag, "backup_jobs.tags"),
    **_of(bucket, "repository_bucket", "backup_bucket", "guard_buckets", "holdfast_buckets"),
    **_of(account, "repository_account_id", "guard_account_id", "holdfast_account_id"),
    **_of(url, "repository_api_url", "repository_s3_endpoint", "backup_s3_endpoint", "guard_api_url", "guard_s3_endpoint",
          "holdfast_api_url", "holdfast_s3_endpoint", "credentials_heartbeat_url", "restic_release_url"),
    **_of(proxy, "repository_proxy", "backup_proxy", "guard_proxy", "restic_proxy", "holdfast_proxy"),
    **_of(absolute_or_none, "repository_ca_file", "backup_ca_file", "guard_ca_file", "restic_ca_file", "holdfast_ca_file"),
    **_of(password, "repository_password", "credentials_password"),
    **_of(secret, "repository_new_password", "repository_api_token", "repository_token_maker", "repository_token_id",
          "repository_host_access_key_id", "repository_host_secret_access_key", "repository_parent_access_key_id",
          "repository_parent_secret_access_key", "credentials_access_key_id", "credentials_secret_access_key",
          "credentials_session_token", "credentials_key_id", "guard_api_token", "holdfast_api_token"),
}  # fmt: skip
