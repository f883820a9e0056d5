# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes HTML of a fleet. Nothing is read or written here.

Every text is escaped by Jinja, and what a host could have written went through `shown` before. The page forbids the browser, in
its own words, to load or run anything but its own style and its one script.

Private to holdfast.restic_r2; may change at any time.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from .._audit.newest import MOST_OF_JOB
from .._common.dates import parse_date
from .._common.errors import HoldfastError
from .._common.untrusted import shown
from . import charts, figures
from .judge import alarms, known_since, protected
from .model import STATES, Fleet, Host, Snapshot

try:
    import jinja2
except ImportError:  # told by `pages`
    jinja2 = None  # type: ignore[assignment]

WORDS = {"danger": "In danger", "unknown": "Unknown", "attention": "Look at it", "protected": "Protected"}
# How long a chart of sizes is, how many points it has in the table of all hosts, and how many problems of a host are told there.
DAYS, POINTS, MOST_TOLD = 90, 24, 3
# The length of a text, and that of a name in the table.
LIMIT, NAME = 900, 60
# How many rows a table of evidence has; the data has them all.
MOST_ROWS = 200
_SCRIPT = "old.js"
# What is said of a snapshot of a host that looks attacked.
BEFORE, AFTER = "the last one from before the attack", "may hold what the attacker made of the data"


class RenderError(HoldfastError):
    """The page cannot be made here."""


def pages(fleet: Fleet, templates: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The name and the text of each page: index.html, and one below hosts/ for each host.

    Args:
        fleet: As `judged` returns it.
        templates: Jinja templates by their names.
    """
    environment = _environment(templates)
    environment.globals.update(_about(fleet), csp=_policy(environment.get_template(_SCRIPT).render()))
    yield "index.html", environment.get_template("index.html.j2").render(hosts=fleet.hosts)
    template = environment.get_template("host.html.j2")
    for host in fleet.hosts:
        yield address(host), template.render(host=host, newest=_newest(host), **_timeline(host, fleet))


def evidence_page(data: Mapping[str, Any], templates: Mapping[str, str]) -> str:
    """The text of the page with the evidence of a period, from what `evidence` returned."""
    environment = _environment(templates)
    # A line of the journal leaves out what has no value.
    environment.undefined = jinja2.Undefined
    environment.filters.update(instant=lambda text: figures.clock(parse_date(text)))
    csp = _policy(environment.get_template(_SCRIPT).render())
    return str(
        environment.get_template("evidence.html.j2").render(
            data=data, csp=csp, now=parse_date(data["made"]), most=MOST_ROWS
        )
    )


def address(host: Host) -> str:
    """Where the page of a host is: in letters that mean nothing to a browser, a shell or a file system."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", host.name)[:60].strip("-") or "host"
    if name != host.name:
        name += "-" + hashlib.sha256(host.name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"hosts/{name}.html"


def _environment(templates: Mapping[str, str]) -> Any:
    if jinja2 is None:
        raise RenderError(
            "The Python of the maintenance node has no Jinja2, which the page is made with: install it there (it comes with "
            "ansible-core), or leave report_dir out."
        )
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(dict(templates)), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_visible,
    )  # fmt: skip
    environment.globals.update(
        address=address, words=WORDS, states=STATES, most_told=MOST_TOLD, area=_numbers(charts.area), days=DAYS
    )
    environment.filters.update(
        clock=figures.clock, exact=figures.exact, size=figures.size, duration=figures.duration, counted=figures.counted,
        cut=lambda name: shown(name, NAME), parted=_parted,
    )  # fmt: skip
    return environment


def _parted(name: str) -> Any:
    """A name that a line may break behind each dot of."""
    return jinja2.utils.markupsafe.Markup(".<wbr>").join(shown(name, NAME).split("."))


def _numbers(path: Callable[..., str]) -> Callable[..., Any]:
    """Paths of SVG, which are made of numbers alone, and longer than texts are."""
    return lambda *arguments: jinja2.utils.markupsafe.Markup(path(*arguments))


def _visible(value: Any) -> Any:
    """Every text that a template writes, in characters that can be seen; what is HTML already stays as it is."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    # Most texts are figures: this way a fleet takes a fifth of the time.
    plain = len(value) <= LIMIT and value.isascii() and value.isprintable() and "{" not in value
    return value if plain else shown(value, LIMIT)


def _policy(script: str) -> str:
    """What a browser may do: nothing of this reaches another host, and no script runs but ours."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _about(fleet: Fleet) -> dict[str, Any]:
    """What all templates know."""
    begin = fleet.made - timedelta(days=DAYS)

    def spark(host: Host, width: float, height: float, most: int = 0) -> Any:
        return _numbers(charts.line)(host.sizes, begin, fleet.made, width, height, most)

    def of_days(host: Host) -> Any:
        return tuple((at, value) for at, value in host.sizes if at >= begin)

    return {
        "fleet": fleet,
        "now": fleet.made,
        "protected": len(protected(fleet)),
        "known_since": known_since(fleet),
        "totals": totals(fleet),
        "spark": spark,
        "points": POINTS,
        "alarms": alarms,
        "most_of_job": MOST_OF_JOB,
        "grown": lambda host: figures.percentage(figures.growth(of_days(host))),
        "age": lambda moment: figures.age(moment, fleet.made),
        "short": lambda moment: figures.short(moment, fleet.made),
        "cost": lambda count: figures.money(figures.cost(count, fleet.price), fleet.currency),
    }


def totals(fleet: Fleet) -> dict[str, Any]:
    """The figures at the top of the page; windows are those of the last 30 days."""
    begin = fleet.made - timedelta(days=30)
    windows = [
        (window, host) for host in fleet.hosts for window in host.windows if window.opened and window.opened >= begin
    ]
    timed = [(window.seconds, host.name, window.count) for window, host in windows if window.seconds is not None]
    longest = max(((seconds, name) for seconds, name, count in timed if count == 1), default=(None, ""))
    known = [host.bytes for host in fleet.hosts if host.bytes is not None]
    return {
        "windows": sum(window.count for window, _host in windows),
        "windows_of": len({host.name for _window, host in windows}),
        "seconds": sum(seconds for seconds, _name, _count in timed),
        "untimed": len(windows) - len(timed),
        "halfway": sum(any(one.code == "maintenance_pending" for one in host.findings) for host in fleet.hosts),
        "longest": longest[0],
        "longest_host": longest[1],
        "open": [(host, window) for host in fleet.hosts for window in host.open],
        "bytes": sum(known) if known else None,
        "snapshots": sum(job.snapshots or 0 for host in fleet.hosts for job in host.jobs),
        "oldest": min((job.oldest for host in fleet.hosts for job in host.jobs if job.oldest), default=None),
        "read": sum(host.read_from is not None for host in fleet.hosts),
        "drilled": sum(host.drill is not None and host.drill.well for host in fleet.hosts),
    }


def _newest(host: Host) -> list[tuple[Snapshot, str]]:
    """The newest snapshots, each with what signs of an attack say of it."""
    firsts = {signs[0].job: signs[0] for signs in alarms(host)}
    seen_in = {signal.snapshot for signal in host.signals}
    good = {first.last_good_id for first in firsts.values()}

    def note(one: Snapshot) -> str:
        since = firsts[one.job].since if one.job in firsts else None
        if one.id in seen_in or (since and one.at >= since.replace(microsecond=0)):
            return AFTER
        return BEFORE if one.id in good else ""

    return [(one, note(one)) for one in host.snapshots]


def _timeline(host: Host, fleet: Fleet) -> dict[str, Any]:
    """The time line of a host: a lane for each job, one for windows, and where a sign of an attack was seen first."""
    stored = [moment for job in host.jobs for moment in (*job.stored, job.newest, job.oldest) if moment]
    opened = [window.opened for window in host.windows if window.opened]
    first = max(min([*stored, *opened], default=fleet.made), fleet.made - timedelta(days=400))
    span = max(fleet.made - first, timedelta(minutes=10))
    begin, end = fleet.made - span * 1.02, fleet.made
    lanes = [
        {
            "name": job.name,
            "count": job.snapshots,
            "path": _numbers(charts.ticks)(
                job.stored or [at for at in (job.oldest, job.newest) if at], begin, end, 1000, 4, 24
            ),
        }
        for job in host.jobs
    ]
    return {
        "lanes": lanes,
        "window_path": _numbers(charts.ticks)(opened, begin, end, 1000, 4, 24),
        "marks": [
            charts.place(signal.since, begin, end, 100)
            for signal in host.signals
            if signal.since and begin <= signal.since <= end
        ],
        "axis": charts.axis(begin, end),
        "size_axis": charts.axis(fleet.made - timedelta(days=DAYS), fleet.made),
    }
