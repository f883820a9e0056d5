# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scripts that everything else is built and tested with."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils import _page_hosts
from ansible_collections.holdfast.restic_r2.plugins.plugin_utils._setting_names import NAMES

from tests.support import restic
from tools import docs, get_restic, markdown, role_readmes, stage, variables

ROOT = Path(__file__).resolve().parents[2]
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def find_python(version: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    return subprocess.run(
        [ROOT / "tools" / "python.sh", version],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )


class TestPython:
    def test_a_shim_that_does_not_run_is_passed_over(self, tmp_path: Path) -> None:
        program(tmp_path / f"python{VERSION}", "#!/bin/sh\necho 'not selected' >&2\nexit 127\n")
        found = find_python(VERSION, tmp_path)
        assert found.returncode == 0
        assert Path(found.stdout.strip()).is_file()
        assert not found.stdout.startswith(str(tmp_path))

    def test_a_shim_that_runs_is_looked_through(self, tmp_path: Path) -> None:
        program(tmp_path / f"python{VERSION}", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        found = find_python(VERSION, tmp_path)
        real = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
        assert found.stdout.strip() == real

    def test_a_program_of_another_version_is_not_taken(self, tmp_path: Path) -> None:
        program(tmp_path / "python3.99", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        found = find_python("3.99", tmp_path)
        assert found.returncode == 1
        assert "no Python 3.99" in found.stderr


class TestStage:
    @pytest.fixture
    def checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        root = tmp_path / "checkout"
        root.mkdir()
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        for name, text in {".gitignore": "*.log\n", "a.py": "1\n", "sub/b.yml": "---\n", "c.log": "noise\n"}.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        monkeypatch.setattr(stage, "ROOT", root)
        return root

    @staticmethod
    def files(copy: Path) -> set[str]:
        return {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file() and ".git/" not in str(path)}

    def test_only_the_project_is_copied_in_a_repository_of_its_own(self, checkout: Path, tmp_path: Path) -> None:
        copy = stage.stage(tmp_path / "copy")
        assert self.files(copy) == {".gitignore", "a.py", "sub/b.yml"}
        top = subprocess.run(
            ["git", "rev-parse", "--show-toplevel"], cwd=copy, capture_output=True, text=True, check=True
        )
        assert Path(top.stdout.strip()) == copy

    def test_changes_and_removals_follow_and_results_stay(self, checkout: Path, tmp_path: Path) -> None:
        copy = stage.stage(tmp_path / "copy")
        (copy / "tests" / "output").mkdir(parents=True)
        (copy / "tests" / "output" / "result.json").write_text("{}", encoding="utf-8")
        (copy / "stray.pyc").write_text("", encoding="utf-8")
        (checkout / "a.py").write_text("22\n", encoding="utf-8")
        (checkout / "sub" / "b.yml").unlink()
        stage.stage(tmp_path / "copy")
        assert self.files(copy) == {".gitignore", "a.py", "tests/output/result.json"}
        assert (copy / "a.py").read_text(encoding="utf-8") == "22\n"


class TestRestic:
    @pytest.fixture
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(get_restic, "CACHE", tmp_path)
        monkeypatch.setattr(get_restic, "TARGET", tmp_path / "restic")
        monkeypatch.setattr(get_restic, "ROOT", tmp_path)
        monkeypatch.delenv("RESTIC", raising=False)
        return tmp_path

    @staticmethod
    def restic(folder: Path, version: str) -> Path:
        return program(folder / "restic", f"#!/bin/sh\necho 'restic {version} compiled with go1.26 on linux/amd64'\n")

    def test_one_on_the_path_is_taken_when_recent(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        own = self.restic(cache / "bin", "0.20.1")
        monkeypatch.setenv("PATH", str(own.parent))
        assert get_restic.main() == 0
        assert (cache / "restic").readlink() == own

    def test_the_one_that_is_named_has_to_be_recent(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(get_restic, "from_path", lambda work: pytest.fail("one was named"))
        own = self.restic(cache / "own", "0.20.1")
        monkeypatch.setenv("RESTIC", str(own))
        assert get_restic.main() == 0 and restic.find() == str(own)
        monkeypatch.setenv("RESTIC", str(self.restic(cache / "old", "0.18.1")))
        assert get_restic.main() == 1 and [path.name for path in cache.glob("restic*")] == []

    @pytest.mark.parametrize("version", ["0.18.1", "nonsense"])
    def test_nothing_is_put_there_when_no_way_leads_to_a_recent_one(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], version: str
    ) -> None:
        old = self.restic(cache / "bin", version)
        monkeypatch.setenv("PATH", str(old.parent))
        monkeypatch.setattr(get_restic, "RELEASES", (cache / "nowhere").as_uri())
        monkeypatch.setattr(get_restic, "debian_mirrors", list)
        assert get_restic.main() == 1
        assert not (cache / "restic").is_symlink()
        assert "install one, or set RESTIC" in capsys.readouterr().err
        assert [path.name for path in cache.iterdir()] == ["bin"]

    def test_upstream_release_with_a_false_signature_is_not_taken(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        release = cache / "releases" / f"v{get_restic.RELEASE}"
        release.mkdir(parents=True)
        for name in ("SHA256SUMS", "SHA256SUMS.asc"):
            (release / name).write_text("nothing that anybody has signed\n", encoding="utf-8")
        monkeypatch.setattr(get_restic, "ROOT", Path(__file__).parents[2])
        monkeypatch.setattr(get_restic, "RELEASES", (cache / "releases").as_uri())
        monkeypatch.setattr(get_restic, "MINIMUM", (999,))  # whatever is on PATH is too old
        monkeypatch.setattr(get_restic, "debian_mirrors", list)
        assert get_restic.main() == 1
        assert "signature of SHA256SUMS is not by the key" in capsys.readouterr().err
        assert not (cache / "restic").exists()

    def test_a_recent_one_stays(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.restic(cache, "0.19.0")
        monkeypatch.setattr(get_restic, "from_path", lambda work: pytest.fail("it was there already"))
        assert get_restic.main() == 0


class TestRoleTables:
    def test_markup_becomes_markdown(self) -> None:
        text = "Set O(restic_method=file) to V(a|b), see L(the manual,https://example.org/x) and B(mind) C(f(x\\))."
        shown = "Set `restic_method=file` to `a\\|b`, see [the manual](https://example.org/x) and **mind** `f(x)`."
        assert markdown.markdown(text) == shown

    def test_defaults_are_shown_as_yaml(self) -> None:
        assert [markdown.shown(value) for value in (True, "", {}, [1, "a"], 7, "7")] == [
            "true", "''", "{}", "[1, a]", "7", "'7'",
        ]  # fmt: skip

    def test_a_readme_keeps_what_is_around_the_table(self, tmp_path: Path) -> None:
        role = tmp_path / "x"
        (role / "meta").mkdir(parents=True)
        spec = "argument_specs: {main: {options: {x_a: {type: int, default: 1, description: One.}}}}\n"
        (role / "meta" / "argument_specs.yml").write_text(spec, encoding="utf-8")
        (role / "README.md").write_text(
            f"# x\n\n{role_readmes.START}\nold\n{role_readmes.END}\n\nAfter.\n", encoding="utf-8"
        )
        before, after = role_readmes.current(role)
        assert "| `x_a` | int | `1` | One. |" in after
        assert after.startswith("# x\n") and after.endswith("\n\nAfter.\n")
        (role / "README.md").write_text(after, encoding="utf-8")
        assert role_readmes.current(role) == (after, after)
        assert before != after


def test_the_site_has_the_files_that_its_pages_link_to() -> None:
    assert {Path("COPYING"), Path("docs/variables.md")} <= docs.linked(Path("README.md"))
    assert Path("docs/variables.md") in docs.linked(Path("roles/repository/README.md"))
    assert docs.linked(Path("CHANGELOG.rst")) == set()


class TestVariables:
    def test_each_variable_that_is_read_is_described_once(self) -> None:
        page = variables.page()
        rows = [line for line in page.splitlines() if line.startswith("| `holdfast_")]
        assert [line.split("`")[1] for line in rows] == sorted(NAMES)
        assert [line for line in rows if line.count(" | ") < 4 or line.endswith("|  |")] == []
        # Where a value comes from is for readers of a role.
        assert not re.search(r"From `holdfast_|`repository_", "".join(rows))

    def test_what_no_variable_of_all_sets_is_named_with_its_role(self) -> None:
        found = variables.Collection().of_roles()
        assert {"repository_abort_uploads_after_days", "repository_token_expires_on"} <= {*found["repository"]}
        assert "backup_jobs" in found["backup"]
        assert not {"repository_bucket", "repository_freeze_token", "repository_password_step"} & {*found["repository"]}

    def test_what_uses_a_variable_is_found_through_roles_and_defaults(self) -> None:
        used = variables.Collection().used()
        assert used["holdfast_restore_host"] == ["restore"]
        assert used["holdfast_unlock_seconds"] == ["unlock"]
        assert used["holdfast_list_most"] == ["list"]
        # Through the default of another option, and through a task that is included.
        assert "recover" in used["holdfast_manage_tokens"] and "rotate" in used["holdfast_record_dir"]
        assert "role `guard`" in used["holdfast_proxy"] and "role `guard`" not in used["holdfast_buckets"]

    def test_the_page_takes_a_host_without_max_age_for_one_with_the_default(self) -> None:
        assert _page_hosts.member("web1", {})["max_age"] == variables.Collection().option("holdfast_max_age")["default"]

    def test_a_variable_without_a_spec_is_named(self) -> None:
        with pytest.raises(LookupError, match=r"describes holdfast_other: write one into meta/variables.yml"):
            variables.Collection().option("holdfast_other")

    def test_places_are_told_by_what_is_missing_where_that_is_shorter(self) -> None:
        playbooks = list("abcdef")
        assert variables.cell_of_places(list("abcdef"), playbooks) == "all"
        assert variables.cell_of_places([*"abcde", "role `x`"], playbooks) == "role `x`; all but `f`"
        assert variables.cell_of_places(["a", "b"], playbooks) == "`a`, `b`"


def test_every_test_is_run_by_some_part_of_make() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    runs = [line for line in lines if "$(PYTEST)" in line or "$(MATRIX)" in line]
    places = {ROOT / word for line in runs for word in line.split() if word.startswith("tests/")}
    files = list((ROOT / "tests").rglob("test_*.py"))
    assert [path for path in files if not places & {path, *path.parents}] == []
