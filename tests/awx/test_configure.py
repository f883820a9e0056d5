# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""AWX as code: the real modules of awx.awx, against a fake of AWX's REST API, twice."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.restic_r2.plugins.module_utils._windows.spec import WindowSpec
from dateutil.rrule import rrulestr

from tests.awx.fake.rules import render
from tests.awx.fake.server import FakeAwx
from tests.awx.fake.store import Store
from tests.support.running import ROOT, Ansible, Run

# Two runs of its playbook come before the first of these tests.

PROJECT = ROOT / "examples" / "awx"
LOCK, SITE, READ, SECRET = "lock-token-6f1d", "site-token-41be", "read-token-77aa", "secret-key-c0de"
REPOSITORIES = f"web1: {{access_key_id: key, secret_access_key: {SECRET}, password: 'it is # a secret'}}\n"
TEMPLATES = {"site", "maintenance", "verify", "report", "check", "drill", "list", "restore", "guard", "relock", "alarm"}


class Configured:
    """A fake AWX, configured twice."""

    def __init__(self, awx: FakeAwx, run: Callable[..., Run]) -> None:
        self.awx = awx
        self.store: Store = awx.store
        self.run = run
        self.first = run("-vv", "--diff")
        self.requests_of_first = len(awx.requests)
        self.second = run()
        self.requests_of_second = awx.requests[self.requests_of_first :]

    def template(self, name: str) -> dict[str, Any]:
        return self.store.named("job_templates", f"Holdfast: {name}")

    def credentials(self, name: str) -> set[str]:
        numbers = self.store.associated("job_templates", self.template(name)["id"], "credentials")
        return self.store.names("credentials", numbers)


@pytest.fixture(name="awx_collection", scope="module")
def fixture_awx_collection() -> Path:
    done = subprocess.run([ROOT / "tools" / "get_awx_collection.sh"], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


@pytest.fixture(name="configured", scope="module")
def fixture_configured(tmp_path_factory: pytest.TempPathFactory, awx_collection: Path) -> Iterator[Configured]:
    folder = tmp_path_factory.mktemp("configure")
    (folder / "repositories.yml").write_text(REPOSITORIES, encoding="utf-8")
    with FakeAwx(PROJECT) as awx:
        machine = awx.store.named("credential_types", "Machine")["id"]
        awx.store.create("credentials", {"name": "Holdfast hosts", "organization": 1, "credential_type": machine})
        awx.store.create("notification_templates", {"name": "Pager", "organization": 1})
        secrets = {
            "CLOUDFLARE_ACCOUNT_ID": "0" * 32, "CLOUDFLARE_API_TOKEN": LOCK, "CLOUDFLARE_SITE_TOKEN": SITE,
            "CLOUDFLARE_READ_TOKEN": READ, "HOLDFAST_HEARTBEAT": f"https://heartbeat.example.com/{SECRET}",
        }  # fmt: skip
        ansible = Ansible(folder / "ansible", {**awx.environment, **secrets}, awx_collection)
        variables = {"awx_repositories_file": str(folder / "repositories.yml"), "awx_notifications": ["Pager"]}

        def run(*arguments: str, **more: Any) -> Run:
            return ansible.playbook(
                PROJECT / "configure.yml", "localhost,", *arguments, variables={**variables, **more}
            )

        yield Configured(awx, run)


def test_a_first_run_makes_everything(configured: Configured) -> None:
    assert configured.first.exit_code == 0, configured.first.output
    assert {item["name"] for item in configured.store.all("job_templates")} == {
        f"Holdfast: {name}" for name in TEMPLATES
    }


def test_a_second_run_changes_nothing(configured: Configured, record_property: Callable[[str, object], None]) -> None:
    run = configured.second
    record_property("second_run_changed", len(run.changed))
    assert run.exit_code == 0, run.output
    assert run.changed == []
    assert {method for method, _path in configured.requests_of_second} == {"GET"}


def test_no_secret_is_told(configured: Configured) -> None:
    for run in (configured.first, configured.second):
        assert [secret for secret in (LOCK, SITE, READ, SECRET, "it is # a secret") if secret in run.output] == []


def test_secrets_reach_jobs_as_environment_and_file_and_nothing_else(configured: Configured) -> None:
    store = configured.store
    token, repositories = (
        store.named("credential_types", f"Holdfast {what}") for what in ("Cloudflare token", "repositories")
    )
    assert set(token["injectors"]) == {"env"}
    assert set(repositories["injectors"]) == {"env", "file"}
    for name, value in (("lock", LOCK), ("site", SITE), ("read", READ)):
        inputs = store.named("credentials", f"Holdfast {name} token")["inputs"]
        assert render(token["injectors"], inputs, "/run") == (
            {"CLOUDFLARE_ACCOUNT_ID": "0" * 32, "CLOUDFLARE_API_TOKEN": value},
            {},
        )
    variables, files = render(
        repositories["injectors"], store.named("credentials", "Holdfast repositories")["inputs"], "/run"
    )
    assert {name: files[path].strip() for name, path in variables.items()} == {
        "HOLDFAST_REPOSITORIES": REPOSITORIES.strip()
    }
    messages = store.named("credential_types", "Holdfast messages")
    inputs = store.named("credentials", "Holdfast messages")["inputs"]
    assert render(messages["injectors"], inputs, "/run") == (
        {"HOLDFAST_NOTIFY": "", "HOLDFAST_HEARTBEAT": f"https://heartbeat.example.com/{SECRET}"}, {},
    )  # fmt: skip
    secret = [
        field["id"]
        for kind in (token, repositories, messages)
        for field in kind["inputs"]["fields"]
        if field.get("secret")
    ]
    assert secret == ["api_token", "repositories", "notify", "heartbeat"]


def test_only_what_changes_locks_gets_the_token_that_can(configured: Configured) -> None:
    holders = {name for name in TEMPLATES if "Holdfast lock token" in configured.credentials(name)}
    assert holders == {"maintenance", "guard", "relock"}
    assert {name for name in TEMPLATES if "Holdfast site token" in configured.credentials(name)} == {"site"}
    assert {name for name in TEMPLATES if "Holdfast hosts" in configured.credentials(name)} == {"site", "restore"}
    for name in ("guard", "relock"):
        assert configured.credentials(name) == {"Holdfast lock token", "Holdfast messages"}
    for name in ("report", "alarm"):
        assert configured.credentials(name) == set()


def test_nobody_can_launch_a_job_so_that_it_does_harm(configured: Configured) -> None:
    prompts = {
        name: {field for field, value in configured.template(name).items() if field.startswith("ask_") and value}
        for name in TEMPLATES
    }
    assert {name: found for name, found in prompts.items() if found} == {
        "site": {"ask_limit_on_launch", "ask_job_type_on_launch"},
        "maintenance": {"ask_job_type_on_launch"},
        "verify": {"ask_limit_on_launch"},
        "check": {"ask_limit_on_launch"},
        "drill": {"ask_limit_on_launch"},
        "list": {"ask_limit_on_launch"},
    }
    workflow = configured.store.named("workflow_job_templates", "Holdfast: weekly maintenance")
    assert not any(value for field, value in workflow.items() if field.startswith("ask_"))


def test_one_at_a_time_unsliced_and_with_time_to_close(configured: Configured) -> None:
    spec = WindowSpec.__dataclass_fields__
    longest = spec["cap_seconds"].default + spec["close_timeout"].default
    for name in TEMPLATES:
        template = configured.template(name)
        assert template["allow_simultaneous"] is False
        assert template["job_slice_count"] == 1
        assert template["timeout"] > longest
        assert (template["job_tags"], template["skip_tags"], template["limit"]) == ("", "", "")
    workflow = configured.store.named("workflow_job_templates", "Holdfast: weekly maintenance")
    assert workflow["allow_simultaneous"] is False


def test_neither_git_nor_an_inventory_can_stop_the_guard(configured: Configured) -> None:
    assert configured.store.named("projects", "Holdfast")["scm_update_on_launch"] is False
    source = configured.store.named("inventory_sources", "Holdfast hosts")
    for name in ("guard", "relock", "alarm"):
        assert configured.template(name)["inventory"] != source["inventory"]
    given = [json.loads(configured.template(name)["extra_vars"]) for name in ("guard", "relock")]
    assert [one.pop("holdfast_relock_wait", None) for one in given] == [None, 600]
    # Where a message waits that could not be sent, for the container of the job is gone after it.
    assert "'HOLDFAST_GUARD_RECORD_DIR'" in given[0]["holdfast_record_dir"]
    # AWX keeps the lookups, and evaluates them in each job.
    assert given[0] == given[1] and all(text.startswith("{{ lookup(") for text in given[0].values())


def test_the_workflow_locks_whatever_happened_and_fails_loudly(configured: Configured) -> None:
    store = configured.store
    nodes = {item["identifier"]: item["id"] for item in store.all("workflow_job_template_nodes")}
    edges = {
        (name, edge.partition("_")[0], other)
        for name, number in nodes.items()
        for edge in ("always_nodes", "failure_nodes", "success_nodes")
        for other, found in nodes.items()
        if found in store.associated("", number, edge)
    }
    assert edges == {
        ("maintenance", "always", "relock"),
        ("relock", "always", "verify"),
        *((name, "failure", "alarm") for name in ("maintenance", "relock", "verify")),
    }
    for name, number in nodes.items():
        node = store.objects["workflow_job_template_nodes"][number]
        assert node["unified_job_template"] == configured.template(name)["id"]
        assert node["all_parents_must_converge"] is False


def test_failures_are_told(configured: Configured) -> None:
    store = configured.store
    told = [("job_templates", configured.template(name)["id"]) for name in TEMPLATES]
    told += [("workflow_job_templates", store.all("workflow_job_templates")[0]["id"])]
    for kind, number in told:
        assert store.names(
            "notification_templates", store.associated(kind, number, "notification_templates_error")
        ) == {"Pager"}


def test_schedules(configured: Configured) -> None:
    store = configured.store
    names = {item["id"]: item["name"] for item in store.all("unified_job_templates")}
    rules = {names[item["unified_job_template"]]: item["rrule"] for item in store.all("schedules") if item["enabled"]}
    day = datetime(2027, 3, 1, tzinfo=timezone.utc)  # a Monday

    def due(name: str, days: int) -> list[datetime]:
        rule = rrulestr(rules[f"Holdfast: {name}"].replace(" ", "\n"))
        return rule.between(day, day + timedelta(days=days), inc=True)

    assert due("weekly maintenance", 7) == [day + timedelta(days=6, hours=4)]
    assert due("verify", 2) == [day + timedelta(hours=7), day + timedelta(days=1, hours=7)]
    assert due("report", 1) == [day + timedelta(hours=8)]
    assert due("check", 1) == [day + timedelta(hours=1), day + timedelta(days=1, hours=1)][:1]
    assert due("drill", 7) == [day + timedelta(days=2, hours=2)]
    assert len(due("guard", 1)) == 24 * 12 + 1
    assert set(rules) == {
        "Holdfast",
        *(f"Holdfast: {name}" for name in ("weekly maintenance", "verify", "report", "check", "drill", "guard")),
    }


def test_restore_asks_who_wants_what(configured: Configured) -> None:
    template = configured.template("restore")
    spec = configured.store.surveys[template["id"]]["spec"]
    assert template["survey_enabled"] is True
    assert [entry["variable"] for entry in spec] == [
        f"holdfast_restore_{what}" for what in ("host", "to", "target", "snapshot")
    ]
    assert all(entry["required"] for entry in spec)


def test_report_makes_evidence_only_where_a_period_is_named(configured: Configured) -> None:
    (question,) = configured.store.surveys[configured.template("report")["id"]]["spec"]
    assert question["variable"] == "holdfast_evidence"
    assert (question["type"], question["required"], question["min"]) == ("text", False, 0)


@pytest.mark.proof
def test_what_somebody_ticked_by_hand_is_undone(configured: Configured) -> None:
    """Last in this file, because it changes what the others look at."""
    template = configured.template("maintenance")
    configured.store.update(
        "job_templates", template["id"], {"ask_tags_on_launch": True, "allow_simultaneous": True, "job_slice_count": 3}
    )
    run = configured.run()
    assert run.exit_code == 0, run.output
    assert [result.result["item"]["name"] for result in run.changed if result.status == "item"] == ["maintenance"]
    assert configured.template("maintenance") == template


def test_credentials_are_not_made_without_content(configured: Configured) -> None:
    for wrong in ({"awx_lock_token": ""}, {"awx_site_token": LOCK}, {"awx_read_token": LOCK}):
        run = configured.run(**wrong)
        assert run.exit_code == 2
        assert "Set CLOUDFLARE_ACCOUNT_ID" in run.output
