# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the values of a job that names of units and files are made of, or that restic reads; see _setting_rules.py. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import re

from ..module_utils._common.untrusted import shown

# systemd's names are at most 255 characters long, with what comes before and behind the job's.
LONGEST_NAME = 200


def _said(text: str) -> str:
    return repr(shown(text, 80))


def job_name(text: str) -> None:
    """It becomes a part of the names of units and files, and a word of a shell script."""
    if len(text) > LONGEST_NAME:
        raise ValueError(f"has {len(text)} characters: write {LONGEST_NAME} at most")
    if text == "esac":
        raise ValueError("is a word of the shell's own: write another name")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text):
        proposed = re.sub(r"[^A-Za-z0-9_.-]+", "-", text.strip()).lstrip("_.-") or "home"
        raise ValueError(
            f"is {_said(text)}, and becomes a part of unit names: write letters, digits, _, - and . alone, as in {proposed}"
        )


def user_name(text: str) -> None:
    """A user of Linux, who is also written into a unit."""
    if text and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?|[0-9]{1,10}", text):
        raise ValueError(f"is {_said(text)}, which is no name of a user: write the name alone, as in postgres")


def file_name(text: str) -> None:
    if not text.strip("/") or re.search(r"[\x00-\x1f]|(^|/)\.\.?(/|$)", text):
        raise ValueError(f"is {_said(text)}, which is no name of a file: write one, as in all.sql")


def byte_size(text: str) -> None:
    """A size as restic reads it for --exclude-larger-than."""
    if not re.fullmatch(r"[0-9]+[bBkKmMgGtT]?", text):
        size = re.fullmatch(r"([0-9]+)(?:\.[0-9]+)?\s*([kmgt])i?b?", text, re.IGNORECASE)
        write = f"{size[1]}{size[2].upper()}" if size else "a whole number with K, M, G or T, as in 2G"
        raise ValueError(f"is {_said(text)}, which is no size for restic: write {write}")


# What a job has its own options for, and what would take restic away from its repository, or its words from the program.
TAKEN = {
    "tag": "tags", "exclude": "exclude", "exclude-file": "exclude_files", "exclude-if-present": "exclude_if_present",
    "exclude-larger-than": "exclude_larger_than", "exclude-caches": "exclude_caches", "one-file-system": "one_file_system",
    "limit-upload": "limit_upload", "compression": "compression", "pack-size": "pack_size",
    "read-concurrency": "read_concurrency", "host": "backup_host", "hostname": "backup_host", "retry-lock": "backup_retry_lock",
    "stdin": "command", "stdin-filename": "filename", "stdin-from-command": "command", "files-from": "paths",
    "files-from-raw": "paths", "files-from-verbatim": "paths", "cacert": "holdfast_ca_file", "cache-dir": "",
    "dry-run": "", "help": "", "insecure-no-password": "", "insecure-tls": "holdfast_ca_file", "json": "",
    "key-hint": "holdfast_key_id", "no-lock": "", "password-command": "holdfast_password", "password-file": "holdfast_password",
    "quiet": "", "repo": "holdfast_bucket", "repository-file": "holdfast_bucket",
}  # fmt: skip


def extra_argument(text: str) -> None:
    """One more option for restic, in one word: what follows in a word of its own could be a path."""
    found = re.fullmatch(r"--([a-z][a-z-]*)(=[^\0\n]*)?", text)
    if not found:
        raise ValueError(
            f"has {_said(text)}, which is no long option in one word: write it as --with-atime or --group-by=host"
        )
    if found[1] in TAKEN:
        write = f"{TAKEN[found[1]]} for it" if TAKEN[found[1]] else "the others without it"
        raise ValueError(f"has {_said(text)}, an option that jobs set themselves: write {write}")


def marker_file(text: str) -> None:
    """A name without folders, perhaps with what the file begins with."""
    if not re.fullmatch(r"[^/:\0\n]+(:[^\n\0]*)?", text):
        raise ValueError(f"has {_said(text)}, which is no name of a file: write one, as in .nobackup")
