# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the measurements, all or the named ones: `python -m bench [name …]`. Each is a module here with `measure()`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import bench
from bench import results
from tests.support.running import COLLECTIONS, link_collection

SUPPORT = ("__main__", "results")


def measurements() -> list[str]:
    """The names of all; what begins with _ is what several of them use."""
    found = [entry.name for entry in pkgutil.iter_modules(bench.__path__)]
    return [name for name in found if name not in SUPPORT and not name.startswith("_")]


def main(names: list[str]) -> int:
    """Measure, print a table, and write the results; 1 when a measurement misses its target."""
    link_collection()
    sys.path.insert(0, str(COLLECTIONS))
    status = 0
    for name in names or measurements():
        module = importlib.import_module(f"bench.{name}")
        figures = module.measure()
        results.write(name, figures)
        print(results.table(name, figures), flush=True)
        for miss in module.misses(figures) if hasattr(module, "misses") else []:
            print(f"missed: {miss}", file=sys.stderr)
            status = 1
    return status


sys.exit(main(sys.argv[1:]))
