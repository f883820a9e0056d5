# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody writes who does without this collection: bucket, repository, locks, restic, keys, units, by plain tasks.

It is what `provision` is measured beside, and no advice: keys lie in clear, nothing is read back, nothing is checked.
"""

from __future__ import annotations

from typing import Any

API = {
    "headers": {"Authorization": "Bearer {{ holdfast_api_token }}"},
    "body_format": "json",
}
BUCKETS = "{{ holdfast_api_url }}/accounts/{{ holdfast_account_id }}/r2/buckets"
BUCKET = "backup-{{ inventory_hostname }}"
RESTIC = {
    "RESTIC_REPOSITORY": "s3:{{ holdfast_s3_endpoint }}/" + BUCKET,
    "RESTIC_PASSWORD": "{{ holdfast_password }}",
    "AWS_ACCESS_KEY_ID": "{{ holdfast_access_key_id }}",
    "AWS_SECRET_ACCESS_KEY": "{{ holdfast_secret_access_key }}",
    "AWS_DEFAULT_REGION": "auto",
}
RULES = [
    {"id": prefix, "prefix": prefix, "enabled": True, "condition": {"type": "Indefinite"}}
    for prefix in ("config", "data/", "index/", "keys/", "snapshots/")
]
NODE: dict[str, Any] = {"delegate_to": "localhost", "become": False}
ENVIRONMENT = "".join(f"{name}={value}\n" for name, value in RESTIC.items())
SERVICE = """[Service]
Type=oneshot
EnvironmentFile=/etc/backup.env
ExecStart=/usr/local/bin/restic backup --tag {{ item.name }} {{ item.paths | join(' ') }}
"""
TIMER = "[Timer]\nOnCalendar=daily\nRandomizedDelaySec=1h\nPersistent=true\n[Install]\nWantedBy=timers.target\n"


def _command(*words: str, **more: Any) -> dict[str, Any]:
    return {"ansible.builtin.command": {"argv": list(words)}, **more}


def _file(content: str, path: str, mode: str = "0644", **more: Any) -> dict[str, Any]:
    return {"ansible.builtin.copy": {"content": content, "dest": path, "mode": mode}, **more}


def tasks(restic: str) -> list[dict[str, Any]]:
    """The tasks, in order; `restic` is the program on the controller."""
    node_python = {"vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}, **NODE}
    create = {"url": BUCKETS, "method": "POST", "body": {"name": BUCKET}, "status_code": [200, 409], **API}
    lock = {"url": f"{BUCKETS}/{BUCKET}/lock", "method": "PUT", "body": {"rules": RULES}, **API}
    jobs = {"loop": "{{ backup_jobs }}"}
    timers = {"name": "backup-{{ item.name }}.timer", "enabled": True, "state": "started"}
    return [
        {"ansible.builtin.uri": create, **node_python},
        _command(restic, "cat", "config", environment=RESTIC, register="there", failed_when=False, **node_python),
        _command(restic, "init", environment=RESTIC, when="there.rc != 0", **node_python),
        {"ansible.builtin.uri": lock, **node_python},
        {"ansible.builtin.copy": {"src": restic, "dest": "/usr/local/bin/restic", "mode": "0755"}},
        _file(ENVIRONMENT, "/etc/backup.env", "0600", no_log=True),
        _file(SERVICE, "/etc/systemd/system/backup-{{ item.name }}.service", **jobs),
        _file(TIMER, "/etc/systemd/system/backup-{{ item.name }}.timer", **jobs),
        _command("systemctl", "daemon-reload"),
        {"ansible.builtin.systemd_service": timers, **jobs},
    ]
