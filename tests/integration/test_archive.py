# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The built collection works when there is nothing but what its archive holds."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.running import Ansible
from tools.stage import ROOT, stage

NAME = "holdfast.restic_r2"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    """Ansible with a folder of collections in which the archive was installed."""
    folder = tmp_path_factory.mktemp("installed")
    ansible = Ansible(folder / "ansible", collections=folder / "collections")
    copy = stage(folder / "stage")
    galaxy("build", "--output-path", folder, copy, ansible=ansible)
    archive = next(folder.glob("*.tar.gz"))
    galaxy("install", "--offline", "--collections-path", folder / "collections", archive, ansible=ansible)
    return ansible


def galaxy(*arguments: str | Path, ansible: Ansible) -> None:
    command("ansible-galaxy", "collection", *map(str, arguments), ansible=ansible)


def command(*words: str, ansible: Ansible) -> str:
    answer = subprocess.run(
        words, env=ansible.environment(), capture_output=True, text=True, check=False, cwd=ansible.home
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def names(folder: str, pattern: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / folder).glob(pattern))


def test_the_archive_holds_what_is_used_and_nothing_else(installed: Ansible) -> None:
    folder = installed.collections / "ansible_collections" / "holdfast" / "restic_r2"
    top = {path.name for path in folder.iterdir()}
    needed = {
        "plugins",
        "roles",
        "playbooks",
        "meta",
        "README.md",
        "COPYING",
        "CHANGELOG.rst",
        "MANIFEST.json",
        "FILES.json",
    }
    assert needed <= top
    assert top - needed <= {"docs", "changelogs", "monitoring", "CONTRIBUTING.md"}
    assert not list(folder.rglob("*.pyc"))


def test_links_of_the_documents_lead_to_what_is_there(installed: Ansible) -> None:
    folder = installed.collections / "ansible_collections" / "holdfast" / "restic_r2"
    broken, repository = [], yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["repository"]
    for document in sorted(folder.rglob("*.md")):
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            place, _hash, heading = link.partition("#")
            here = re.fullmatch(re.escape(repository) + r"/(?:blob|tree)/main/(.+)", place)
            file = ROOT / here.group(1) if here else document.parent / place if place else document
            elsewhere = place.startswith("http") and not here
            if not elsewhere and (not file.exists() or (heading and heading not in headings(file))):
                broken.append(f"{document.relative_to(folder)}: {link}")
    assert broken == []


def headings(document: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    found = re.findall(r"^#+ +(.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_module_is_documented(installed: Ansible) -> None:
    modules = [f"{NAME}.{name}" for name in names("plugins/modules", "[a-z]*.py")]
    docs = json.loads(command("ansible-doc", "--json", *modules, ansible=installed))
    assert sorted(docs) == modules
    for name, entry in docs.items():
        assert entry["doc"]["filename"].startswith(str(installed.collections)), name
        assert entry["examples"] and entry["return"], name


def test_every_role_is_documented(installed: Ansible) -> None:
    roles = json.loads(command("ansible-doc", "--type", "role", "--json", "--list", NAME, ansible=installed))
    assert sorted(roles) == [f"{NAME}.{name}" for name in names("roles", "*")]


def test_every_playbook_is_found_by_its_full_name(installed: Ansible) -> None:
    playbooks = [f"{NAME}.{playbook}" for playbook in names("playbooks", "*.yml")]
    told = command("ansible-playbook", "-i", "localhost,", "--syntax-check", *playbooks, ansible=installed)
    assert told.count("playbook: ") == len(playbooks) > 5


def test_ansible_takes_the_examples_of_the_roles(installed: Ansible, tmp_path: Path) -> None:
    files = []
    for page in sorted((ROOT / "roles").glob("*/README.md")):
        blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        files += [tmp_path / f"{page.parent.name}{number}.yml" for number in range(len(blocks))]
        for file, block in zip(files[-len(blocks) :], blocks):
            file.write_text(block, encoding="utf-8")
    told = command("ansible-playbook", "-i", "localhost,", "--syntax-check", *map(str, files), ansible=installed)
    assert told.count("playbook: ") == len(files) >= len(names("roles", "*"))
