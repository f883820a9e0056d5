# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the values of settings for places, and for the batches of a run; see _setting_rules.py. Pure.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Union

from ..module_utils._common.errors import HoldfastError
from ..module_utils._common.untrusted import shown
from ..module_utils._locks.rules import normalise_prefix

# The machine that runs Ansible, which is there without an inventory.
HERE = ("localhost", "127.0.0.1", "::1")
# The settings that name a machine of the inventory; empty means another one.
MACHINES = ("repository_node", "repository_drill_on", "report_node")
HINTS = ("apac", "eeur", "enam", "oc", "weur", "wnam")
CLASSES = ("Standard", "InfrequentAccess")


def _said(text: str) -> str:
    return repr(shown(text, 80))


def one_of(*known: str) -> Callable[[str], None]:
    """A rule for words, of which each has one spelling."""

    def rule(text: str) -> None:
        if text and text not in known:
            near = next((word for word in known if word.lower() == text.strip().lower()), "")
            near = near or next(iter(difflib.get_close_matches(text, known, 1)), "")
            raise ValueError(f"is {_said(text)}: write {near or 'one of ' + ', '.join(known)}")

    return rule


def machine(text: str, known: Iterable[str]) -> None:
    """A host of the inventory, which is read before anything is asked of it."""
    hosts = sorted(known)
    if text and text not in (*HERE, *hosts):
        near = next(iter(difflib.get_close_matches(text, hosts, 1)), "the name of one")
        raise ValueError(f"is {_said(text)}, which is no host of the inventory: write {near}, or localhost")


def program(text: str) -> None:
    """A program of the node, the same wherever Ansible is run."""
    if text and not text.startswith(("/", "~/")) and ("/" in text or text != text.strip()):
        raise ValueError(
            f"is {_said(text)}, which is another file wherever this is run: write it from / on, or a name on the search path"
        )


def prefix(text: str) -> None:
    # What becomes of a truth value, or of nothing, where Ansible makes a text of it.
    if text.strip("/") in ("True", "False", "None"):
        raise ValueError(f"is {_said(text)}, a word for YAML: write a name with a slash, as in web1/, in quotes")
    try:
        normalise_prefix(text)
    except HoldfastError:
        raise ValueError(
            f"is {_said(text)}, and restic and R2 would read that otherwise: write names with slashes between, as in web1/, "
            "without . and .., and without %, ? and #"
        ) from None


def remote_folder(text: str) -> None:
    """A folder that Ansible itself puts into the words of a shell, where only a variable at its beginning is meant to be one."""
    if re.search(r"[][\\'\"`$;&|<>()*?\n\t]|  ", re.sub(r"^\$(\w+|\{\w+\})", "", text)) or text != text.strip():
        raise ValueError(
            f"is {_said(text)}, and Ansible has a shell read that otherwise: write a folder without quotation marks, $, "
            "backslashes, brackets and two blanks in a row, as in ~/.ansible/tmp"
        )


def batch(size: Union[str, float]) -> None:
    """How many hosts are worked on at a time: a number, or a share."""
    if isinstance(size, bool) or not re.fullmatch(r"0*[1-9][0-9]*|0*(?:100|[1-9][0-9]?)%", str(size).strip()):
        raise ValueError(f"has {_said(str(size))}: write how many hosts, as in 10, or which share of them, as in '10%'")


def folder_of_node(text: str) -> None:
    """A file or folder that is the same wherever Ansible is run."""
    if text and not text.startswith(("/", "~")):
        raise ValueError(
            f"is {_said(text)}, which is another folder or file wherever this is run: write it from / on, or in a home, as in "
            f"~/{text}"
        )


def absolute(text: str) -> None:
    if not text.startswith("/"):
        raise ValueError(f"has {_said(text)}, which is no absolute path: write it from / on")
    if "\n" in text or "\0" in text:
        raise ValueError(f"has {_said(text)}, a path with a line break: write one path an entry")


def included(text: str) -> None:
    if not text.startswith("/"):
        raise ValueError(
            f"has {_said(text)}, which is no absolute path: write it from / on, or a pattern into "
            "holdfast_restore_include_patterns"
        )


def absolute_or_none(text: str) -> None:
    if text:
        absolute(text)


def source(text: str) -> None:
    """An address or a network."""
    try:
        ipaddress.ip_network(text.strip())
    except ValueError:
        raise ValueError(
            f"has {_said(text)}, which is no address and no network: write it as in 192.0.2.7 or 192.0.2.0/24"
        ) from None


def expression(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(
            f"is {_said(text)}, which is no regular expression ({error}): write one, as in ^backup-"
        ) from None
