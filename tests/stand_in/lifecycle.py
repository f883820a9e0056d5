# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lifecycle rules: one document, in the shape of the REST API and in that of S3."""

from __future__ import annotations

import secrets
from typing import Any, Optional
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.stand_in.s3_errors import S3Error

DAY = 86400
CLASSES = {"InfrequentAccess": "STANDARD_IA", "Standard": "STANDARD"}
S3_CLASSES = {name: ours for ours, name in CLASSES.items()}
MAX_RULES = 1000


def _condition_xml(condition: dict[str, Any], days: str = "Days") -> str:
    if condition["type"] == "Date":
        return f"<Date>{escape(condition['date'])}</Date>"
    return f"<{days}>{condition['maxAge'] // DAY}</{days}>"


def _rule_xml(rule: dict[str, Any]) -> str:
    prefix = escape(rule.get("conditions", {}).get("prefix", ""))
    parts = [f"<ID>{escape(rule['id'])}</ID><Filter><Prefix>{prefix}</Prefix></Filter>"]
    parts.append(f"<Status>{'Enabled' if rule['enabled'] else 'Disabled'}</Status>")
    if rule.get("deleteObjectsTransition"):
        parts.append(f"<Expiration>{_condition_xml(rule['deleteObjectsTransition']['condition'])}</Expiration>")
    for entry in rule.get("storageClassTransitions", []):
        name = f"<StorageClass>{CLASSES[entry['storageClass']]}</StorageClass>"
        parts.append(f"<Transition>{_condition_xml(entry['condition'])}{name}</Transition>")
    if rule.get("abortMultipartUploadsTransition"):
        days = _condition_xml(rule["abortMultipartUploadsTransition"]["condition"], "DaysAfterInitiation")
        parts.append(f"<AbortIncompleteMultipartUpload>{days}</AbortIncompleteMultipartUpload>")
    return f"<Rule>{''.join(parts)}</Rule>"


def to_xml(rules: list[dict[str, Any]]) -> str:
    """The document as S3 clients read it."""
    return f"<LifecycleConfiguration>{''.join(_rule_xml(rule) for rule in rules)}</LifecycleConfiguration>"


def _condition(element: ElementTree.Element, days: str = "Days") -> dict[str, Any]:
    date = element.findtext("{*}Date")
    if date:
        return {"type": "Date", "date": date}
    return {"type": "Age", "maxAge": int(element.findtext(f"{{*}}{days}") or "0") * DAY}


def _rule(element: ElementTree.Element) -> dict[str, Any]:
    prefix: Optional[str] = element.findtext("{*}Filter/{*}Prefix") or element.findtext("{*}Prefix")
    rule: dict[str, Any] = {
        "id": element.findtext("{*}ID") or secrets.token_hex(8),
        "enabled": element.findtext("{*}Status") == "Enabled",
        "conditions": {"prefix": prefix or ""},
    }
    expiration = element.find("{*}Expiration")
    if expiration is not None:
        rule["deleteObjectsTransition"] = {"condition": _condition(expiration)}
    abort = element.find("{*}AbortIncompleteMultipartUpload")
    if abort is not None:
        rule["abortMultipartUploadsTransition"] = {"condition": _condition(abort, "DaysAfterInitiation")}
    transitions = [
        {"condition": _condition(entry), "storageClass": S3_CLASSES[entry.findtext("{*}StorageClass") or ""]}
        for entry in element.findall("{*}Transition")
    ]
    if transitions:
        rule["storageClassTransitions"] = transitions
    return rule


def from_xml(body: bytes) -> list[dict[str, Any]]:
    """The document as S3 clients write it."""
    try:
        rules = [_rule(element) for element in ElementTree.fromstring(body).findall("{*}Rule")]
    except (ElementTree.ParseError, KeyError, ValueError):
        raise S3Error("MalformedXML", "The lifecycle configuration is malformed.") from None
    if len(rules) > MAX_RULES:
        raise S3Error("InvalidRequest", f"There are more than {MAX_RULES} lifecycle rules.")
    return rules


def check(rules: Any) -> list[dict[str, Any]]:
    """The document as REST clients write it; ValueError if it does not fit."""
    if not isinstance(rules, list) or len(rules) > MAX_RULES:
        raise ValueError(f"rules is not a list of at most {MAX_RULES}")
    for rule in rules:
        if not isinstance(rule.get("id"), str) or not isinstance(rule.get("enabled"), bool):
            raise ValueError("a rule has no id or no enabled")
        if not isinstance(rule.get("conditions", {}).get("prefix"), str):
            raise ValueError("conditions.prefix is missing")
        to_xml([rule])
    return rules
