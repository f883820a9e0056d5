# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The objects of the fake, by kind and id."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.awx.fake import rules
from tests.awx.fake.kinds import EDGES, KINDS, UNIFIED
from tests.awx.fake.rules import ENCRYPTED, Refusal


class Store:
    """What an AWX holds that was just installed: an organization, and the type of credentials for ssh.

    Args:
        project: The folder that every project is a checkout of.
    """

    def __init__(self, project: Path) -> None:
        self.project = project
        self.objects: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in KINDS}
        self.surveys: dict[int, dict[str, Any]] = {}
        self._lists: dict[tuple[int, str], list[int]] = {}
        self._last = 0
        self.create("organizations", {"name": "Default"})
        fields = [{"id": "username", "label": "Username"}, {"id": "ssh_key_data", "label": "Key", "secret": True}]
        self.create(
            "credential_types", {"name": "Machine", "kind": "ssh", "managed": True, "inputs": {"fields": fields}}
        )

    def named(self, kind: str, name: str) -> dict[str, Any]:
        """The one object of that name; for tests."""
        found = [item for item in self.objects[kind].values() if name in (item.get("name"), item.get("identifier"))]
        assert len(found) == 1, (kind, name, found)
        return found[0]

    def names(self, kind: str, numbers: list[int]) -> set[str]:
        return {str(self.objects[kind][number]["name"]) for number in numbers}

    def all(self, kind: str) -> list[dict[str, Any]]:
        if kind != UNIFIED:
            return list(self.objects[kind].values())
        return [item for name, found in KINDS.items() if found.unified for item in self.objects[name].values()]

    def find(self, kind: str, filters: Mapping[str, str]) -> list[dict[str, Any]]:
        """Objects whose fields are as the filters say; those that begin with or__ are alternatives."""
        either = {name[4:]: value for name, value in filters.items() if name.startswith("or__")}
        every = {name: value for name, value in filters.items() if not name.startswith("or__")}
        for name in {*either, *every} - {"id", "type"}:
            if kind != UNIFIED and name not in KINDS[kind].fields:
                raise Refusal("detail", f"{kind} has no field named '{name}'")
        return [
            item
            for item in self.all(kind)
            if all(str(item.get(name)) == value for name, value in every.items())
            and (not either or any(str(item.get(name)) == value for name, value in either.items()))
        ]

    def create(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        missing = [name for name in KINDS[kind].required if data.get(name) in (None, "")]
        if missing:
            raise Refusal(missing[0], "This field is required.")
        item = {**KINDS[kind].fields, "id": self._last + 1, "type": KINDS[kind].type}
        self._set(kind, item, data)
        self._last += 1
        self.objects[kind][item["id"]] = item
        return item

    def update(self, kind: str, number: int, data: dict[str, Any]) -> dict[str, Any]:
        item = dict(self.objects[kind][number])
        self._set(kind, item, data)
        self.objects[kind][number] = item
        return item

    def _set(self, kind: str, item: dict[str, Any], data: dict[str, Any]) -> None:
        described = KINDS[kind]
        for name, value in data.items():
            if name not in described.fields:
                raise Refusal(name, "AWX has no such field here.")
            refers = value is not None and name in described.foreign
            if refers and value not in [other["id"] for other in self.all(described.foreign[name])]:
                raise Refusal(name, f'Invalid pk "{value}" - object does not exist.')
        if kind == "credentials" and "inputs" in data:
            kept = {name: item["inputs"].get(name) for name, value in data["inputs"].items() if value == ENCRYPTED}
            data = {**data, "inputs": {**data["inputs"], **kept}}
        item.update(data)
        twins = [other for other in self.objects[kind].values() if other["id"] != item["id"]]
        if any(all(other[name] == item[name] for name in described.unique) for other in twins):
            raise Refusal("__all__", f"{described.type} with this {' and '.join(described.unique)} already exists.")
        if kind in rules.RULES:
            rules.RULES[kind](self, item)

    def shown(self, kind: str, item: dict[str, Any]) -> dict[str, Any]:
        """An object as AWX tells of it: with links, and without secrets."""
        kind = next(name for name, found in KINDS.items() if found.type == item["type"])
        url = f"/api/v2/{kind}/{item['id']}/"
        related = {name: f"{url}{name}/" for name in (*KINDS[kind].lists, "survey_spec", "update")}
        told = {**item, "url": url, "related": related, "summary_fields": {}}
        if kind == "credentials":
            fields = self.objects["credential_types"][item["credential_type"]]["inputs"].get("fields", [])
            secret = {field["id"] for field in fields if field.get("secret")}
            told["inputs"] = {name: ENCRYPTED if name in secret else value for name, value in item["inputs"].items()}
        return told

    def associated(self, kind: str, number: int, name: str) -> list[int]:
        """The ids in a list of associated objects."""
        return self._lists.setdefault((number, name), [])

    def associate(self, kind: str, number: int, name: str, other: int, disassociate: bool) -> None:
        found = self.associated(kind, number, name)
        if disassociate:
            found.remove(other)
            return
        if other not in self.objects[KINDS[kind].lists[name]]:
            raise Refusal("detail", f"There is no {name} {other}.")
        if other not in found:
            rules.association(self, kind, number, name, other)
            found.append(other)

    def children(self, number: int) -> set[int]:
        """The nodes that follow a node of a workflow."""
        return {other for edge in EDGES for other in self.associated("", number, edge)}

    def descendants(self, number: int) -> set[int]:
        found = self.children(number)
        return found.union(*(self.descendants(other) for other in found))
