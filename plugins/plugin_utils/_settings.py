# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converts settings by the argument specs of the roles, and says of each that cannot be used what to write instead. Pure.

Ansible validates the arguments of roles and does not convert them, and where its modules convert, they split a text at commas. So
a text in the place of a list was walked letter by letter, or became two entries. Here it is the one entry.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import date
from posixpath import normpath
from typing import Any

from ansible.module_utils.parsing.convert_bool import BOOLEANS_FALSE, BOOLEANS_TRUE

from ..module_utils._common.untrusted import shown
from ._near_names import nearest
from ._setting_rules import RULES, jobs_as_a_whole, twins

Options = Mapping[str, Mapping[str, Any]]
# Lists of words that hold neither commas nor blanks, so that a text with commas can only be several of them.
SEPARABLE = (
    "drill_job",
    "unlock_parts", "restore_job", "accept_findings", "remove_findings", "guard_buckets", "holdfast_buckets", "jurisdictions",
    "allowed_addresses", "expected_hosts", "no_proxy", "protected_snapshots",
)  # fmt: skip

# Of these, one is of no use without the other.
PAIRS = (
    ("holdfast_access_key_id", "holdfast_secret_access_key"),
    ("holdfast_parent_access_key_id", "holdfast_parent_secret_access_key"),
)


class SettingError(ValueError):
    """A value cannot be used.

    Args:
        what: What the value is, or lacks, as a sentence says it behind the option's name.
        write: What to write instead.
    """

    def __init__(self, what: str, write: str) -> None:
        super().__init__(f"{what}: write {write}")
        self.what = what
        self.write = write


def converted(values: Mapping[str, Any], options: Options) -> tuple[dict[str, Any], list[str]]:
    """The values as their options describe them, those without an option as they are, and what is wrong in sentences."""
    result: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in values.items():
        if name in options:
            # An option of a playbook that is like one of a role keeps to the rule of that one.
            result[name], wrong = _option(name, value, options[name], options[name].get("like", name))
            problems += wrong
        else:
            result[name] = value
    if not problems and "backup_jobs" in result:
        whole = jobs_as_a_whole if result.get("backup_state") == "present" else twins
        problems = whole(result["backup_jobs"])
    return result, problems


def contradictions(values: Mapping[str, Any]) -> list[str]:
    """Problems between settings that are each well, in sentences."""
    names = [job["name"] for job in values.get("backup_jobs") or ()]
    problems = []
    for setting in ("repository_restore_job", "repository_drill_job"):
        for name in values.get(setting) or ():
            if name not in names:
                write = nearest(name, names) or (
                    f"one of {', '.join(names)}" if names else "the jobs of the host into backup_jobs"
                )
                problems.append(f"{setting} has {shown(name, 60)!r}, which is no job of this host: write {write}.")
    if _outside(str(values.get("repository_restore_target") or ""), values.get("repository_restore_roots") or ()):
        target, roots = str(values.get("repository_restore_target")), values["repository_restore_roots"]
        write = f"a folder below {' or '.join(roots)}, or set holdfast_restore_roots"
        problems.append(
            f"repository_restore_target is {shown(target, 80)!r}, which is in none of the roots: write {write}."
        )
    return problems


def _outside(target: str, roots: Iterable[str]) -> bool:
    """Whether a folder is below none of the others; of those in a home only the machine knows which they are."""
    below = [f"{normpath(root).rstrip('/')}/" for root in roots]
    known = not any(path.startswith("~") for path in (target, *roots))
    return bool(below) and known and not any(f"{normpath(target)}/".startswith(root) for root in below)


def halves(names: Iterable[str]) -> list[str]:
    """The pairs of which only one is there, in sentences."""
    there = set(names)
    problems = []
    for one, other in PAIRS:
        for given, missing in ((one, other), (other, one)):
            if given in there and missing not in there:
                problems.append(f"{given} is set and {missing} is not: write both, or neither.")
    return problems


def in_own_words(problems: Iterable[str], written: Mapping[str, Any]) -> list[str]:
    """The sentences with the names of variables that a person has written, each once.

    Args:
        problems: Sentences that begin with the name of a setting of a role.
        written: The variables, as they are before templates are evaluated.
    """
    told = []
    for problem in problems:
        name = re.match(r"\w*", problem)[0]  # type: ignore[index]
        source = re.match(r"\s*\{\{\s*(holdfast_\w+)", str(written.get(name, "")))
        told.append(source[1] + problem.removeprefix(name) if source and source[1] in written else problem)
    return list(dict.fromkeys(told))


def _option(name: str, value: Any, option: Mapping[str, Any], rule: str, label: str = "") -> tuple[Any, list[str]]:
    """The value of one option; `rule` is its name from the outside in, `label` is what a sentence begins with."""
    label = label or name
    kind = option.get("type", "str")
    if value is None and kind not in ("list", "dict"):
        return option.get("default"), []
    try:
        if option.get("no_log") and isinstance(value, (int, float)) and not isinstance(value, bool):
            raise SettingError("is a number, whose digits YAML may have changed", "it in quotes")
        if kind == "str" and option.get("choices") and isinstance(value, bool):
            raise SettingError("is a truth value for YAML", f"it in quotes, as one of {', '.join(option['choices'])}")
        if kind == "dict" and option.get("options"):
            value = _dict(value)
            RULES.get(rule, _raw)(value)
            return _suboptions(value, option["options"], rule, f"{label}.")
        if kind == "list" and option.get("options"):
            return _dicts(value, option["options"], rule, label)
        result = _list(value, option, name) if kind == "list" else CONVERTERS.get(kind, _raw)(value)
        _choice(result, option)
        for one in result if kind == "list" else [result]:
            RULES.get(rule, _raw)(one)
    except ValueError as error:
        return value, [f"{label} {error}."]
    return result, []


def _suboptions(value: Mapping[str, Any], options: Options, rule: str, label: str) -> tuple[dict[str, Any], list[str]]:
    result: dict[str, Any] = {}
    problems: list[str] = []
    for name, inner in value.items():
        if name not in options:
            near = nearest(str(name), options) or next((one for one in sorted(options) if one.endswith(f"_{name}")), "")
            meant = f"write {near}" if near else f"write one of {', '.join(sorted(options))}"
            problems.append(f"{label}{shown(name, 60)} is no setting: {meant}.")
        elif inner is not None or options[name].get("required"):
            result[name], wrong = _option(name, inner, options[name], f"{rule}.{name}", f"{label}{name}")
            problems += wrong
    problems += [
        f"{label}{name} is missing: write {name} and its value."
        for name, option in options.items()
        if option.get("required") and value.get(name) is None
    ]
    return result, problems


def _dicts(value: Any, options: Options, rule: str, label: str) -> tuple[list[Any], list[str]]:
    if value is None or value == "":
        return [], []
    value = _parsed(value)
    if not isinstance(value, (list, tuple)):
        raise SettingError("is no list", 'each entry behind a dash, as in "- name: home"')
    result, problems = [], []
    for number, entry in enumerate(value, 1):
        if not isinstance(entry, Mapping):
            problems.append(f'{label}, entry {number} is {_said(entry)}: write names and values, as in "- name: home".')
            continue
        known = entry.get("name")
        place = f"job {shown(known, 60)}: " if rule == "backup_jobs" and known else f"entry {number}: "
        one, wrong = _suboptions(entry, options, rule, f"{label}, {place}")
        result.append(one)
        problems += wrong
    return result, problems


def _list(value: Any, option: Mapping[str, Any], name: str) -> list[Any]:
    if value is None or value == "":
        return []
    value = _parsed(value)
    if isinstance(value, str):
        value = _entries(value, option, name)
    if not isinstance(value, (list, tuple)):
        if isinstance(value, (Mapping, bool)):
            raise SettingError(f"is {_said(value)}", "a list, as in [one, two]")
        value = [value]
    convert = CONVERTERS.get(option.get("elements", "raw"), _raw)
    result = []
    for number, entry in enumerate(value, 1):
        if entry is None or entry == "":
            raise SettingError(f"has nothing as entry {number}", "a value there, or leave the entry out")
        try:
            result.append(convert(entry))
        except SettingError as error:
            raise SettingError(f"has an entry {number} that {error.what}", error.write) from error
    return result


def _entries(text: str, option: Mapping[str, Any], name: str) -> list[str]:
    """A text in the place of a list: the one entry that it is, never split where it could hold the separator."""
    if name == "command" and len(text.split()) > 1:
        raise SettingError(
            f"is {_said(text)}, a text of several words",
            f"the list of its words, {json.dumps(text.split(), ensure_ascii=False)}, or for a shell [sh, -c, '…']",
        )
    if "\n" in text.strip("\n"):
        raise SettingError("is a text of several lines", "a list, each entry behind a dash")
    if name.endswith(SEPARABLE):
        return [part.strip() for part in text.split(",") if part.strip()]
    return [text.strip("\n")]


def _parsed(value: Any) -> Any:
    """A text in brackets is JSON, as from -e option=[…] and surveys; other texts stay as they are."""
    if isinstance(value, str) and value.strip()[:1] + value.strip()[-1:] in ("[]", "{}"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _said(value: Any) -> str:
    if isinstance(value, str):
        return repr(shown(value, 80))
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else str(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise SettingError(f"is the truth value {str(value).lower()} and no text", "it in quotes")
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, date):
        # YAML makes one of a date without quotes.
        return value.isoformat()
    raise SettingError(f"is {_said(value)} and no text", "one text")


def _bool(value: Any) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if not isinstance(word, (list, tuple, Mapping)):
        if word in BOOLEANS_TRUE:
            return True
        if word in BOOLEANS_FALSE:
            return False
    raise SettingError(f"is {_said(value)}", "true or false")


def _float(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise SettingError(f"is {_said(value)} and no number", "digits alone")
    return number


def _int(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?[0-9]+\s*", value):
        return int(value)
    number = _float(value)
    if isinstance(value, str) or number != int(number):
        raise SettingError(f"is {_said(value)} and no whole number", "digits alone")
    return int(number)


def _dict(value: Any) -> Mapping[str, Any]:
    value = _parsed({} if value is None or value == "" else value)
    if isinstance(value, str) and "datetime.date" in value:
        # What Ansible before 2.19 makes of a mapping in which YAML has made a date.
        raise SettingError("has a date without quotes", "the date in quotes, as in until: '2027-01-31'")
    if not isinstance(value, Mapping):
        raise SettingError(f"is {_said(value)}", "names and values, as in {name: value}")
    return value


def _raw(value: Any) -> Any:
    return value


def _choice(value: Any, option: Mapping[str, Any]) -> None:
    choices = option.get("choices")
    for one in value if isinstance(value, list) else [value]:
        if choices and one not in choices:
            near = nearest(str(one), choices)
            raise SettingError(f"is {_said(one)}", near or f"one of {', '.join(choices)}")


CONVERTERS = {"str": _text, "path": _text, "bool": _bool, "int": _int, "float": _float, "dict": _dict}
