# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Prometheus with the alert rules of this project, which reads a file of metrics as from node_exporter."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.support.running import ROOT
from tests.support.waiting import happens

ALERTS = ROOT / "monitoring" / "alerts.yml"
# Where tools/get_prometheus.sh puts them.
PROGRAMS = ROOT / ".cache" / "prometheus" / "usr" / "bin"


class _Handler(SimpleHTTPRequestHandler):
    """Says nothing of its requests."""

    extensions_map = {".prom": "text/plain; version=0.0.4"}  # noqa: RUF012

    def log_message(self, *_arguments: Any) -> None:
        return


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The address at which a folder is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(60)


class Prometheus:
    """One that runs.

    Args:
        url: Where it answers.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The answer to a query, which is empty as long as there is none."""
        answered = requests.get(f"{self._url}/api/v1/query", params={"query": query}, timeout=30)
        # It listens a moment before it is ready.
        return answered.json()["data"]["result"] if answered.status_code == 200 else []


@contextmanager
def prometheus(metrics: Path, folder: Path) -> Iterator[Prometheus]:
    """Prometheus reads the file every second, and looks at the rules as often. Nobody but this machine reaches it.

    Args:
        metrics: The file.
        folder: Where it keeps what it needs.
    """
    with _served(metrics.parent) as target, (folder / "prometheus.log").open("w") as log:
        static = [{"targets": [target]}]
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [{"job_name": "node", "metrics_path": f"/{metrics.name}", "static_configs": static}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        command = [
            str(PROGRAMS / "prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/prometheus-data",
            "--web.listen-address=127.0.0.1:0",
        ]
        with subprocess.Popen(command, stderr=log, stdout=log) as server:
            try:
                yield Prometheus(f"http://{_address(server, folder / 'prometheus.log')}")
            finally:
                server.terminate()


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    """Where it listens, as it says itself."""
    assert happens(lambda: "Listening on" in log.read_text() or server.poll() is not None)
    found = re.search(r'msg="Listening on" address=(\S+)', log.read_text())
    assert found, log.read_text()
    return found[1]
