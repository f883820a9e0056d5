# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole story against a local stand-in for R2: provision, back up, attack, maintain, kill, encrypt, restore, look again.

Run it as `make demo`. It leaves nothing outside .demo/ and ends with a status other than 0 when a promise is broken.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from demo.attacker import Attacker, Attempt
from demo.world import DEMO, HOSTS, INVENTORY, Broken, Demo, bucket_of, kill_ansible
from tests.support.prometheus import PROGRAMS, prometheus
from tests.support.running import ROOT
from tests.support.waiting import happens

VICTIM = "web1"
STARTED = time.monotonic()
# After so many seconds of silence the demo tells what goes on.
QUIET = 8.0
summary: dict[str, Any] = {}
said = {"last": STARTED}


def say(text: str) -> None:
    said["last"] = time.monotonic()
    print(f"[{said['last'] - STARTED:5.1f} s] {text}", flush=True)


@contextmanager
def never_silent(world: Demo) -> Iterator[None]:
    """Say what Ansible is at, as often as nothing else was said for a while."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(max(said["last"] + QUIET - time.monotonic(), 0.1)):
            if time.monotonic() >= said["last"] + QUIET:
                say(f"       … {world.at_work()}")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def require(promise: bool, sentence: str) -> None:
    if not promise:
        raise Broken(sentence)


def provision(world: Demo) -> None:
    say(
        f"Three hosts below .demo/hosts, {world.make_hosts()} real files. Their inventory: {INVENTORY.relative_to(ROOT)}"
    )
    say("site: buckets, repositories, locks, restic, credentials, backup jobs")
    world.run("site", "site.log")
    for name in HOSTS:
        locked = sorted(rule["prefix"] for rule in world.stand_in.rules(bucket_of(name)) if rule["enabled"])
        require(len(locked) == 5, f"The lock set of {name} is not complete.")
    say("       every repository is locked: config, data/, index/, keys/, snapshots/")


def back_up(world: Demo, days: range) -> None:
    say(f"backups: {len(days)} of each host, with changes between")
    for day in days:
        for name in HOSTS:
            world.change_files(name, day)
            world.back_up(name)
    world.back_up("db1", "etc")


def attack(world: Demo) -> None:
    say(f"attack: ransomware with root on {VICTIM} uses all that the host has")
    before = {name: contents(world, name) for name in HOSTS}
    root = world.root(VICTIM)
    others = [bucket_of(name) for name in HOSTS if name != VICTIM]
    attacker = Attacker(
        root / "holdfast",
        root / "holdfast-jobs" / "settings.json",
        world.stand_in.api_url,
        world.stand_in.account_id,
        others,
    )
    attempts = attacker.attack()
    print_attempts(attempts)
    refused = sum(attempt.refused for attempt in attempts)
    summary["attacks"] = {"tried": len(attempts), "refused": refused}
    require(refused == len(attempts), "An attack succeeded.")
    require(before == {name: contents(world, name) for name in HOSTS}, "An attack was refused, but changed an object.")
    say(f"        {refused} of {len(attempts)} attempts were refused, and every object is as it was")


def contents(world: Demo, name: str) -> dict[str, str]:
    """The objects of a repository with the fingerprints of their contents."""
    import boto3

    keys = {
        "aws_access_key_id": world.stand_in.access_key_id,
        "aws_secret_access_key": world.stand_in.secret_access_key,
    }
    s3 = boto3.client("s3", endpoint_url=world.stand_in.s3_endpoint, region_name="auto", **keys)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket_of(name))
    found = {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", [])}
    return {key: etag for key, etag in found.items() if not key.startswith("locks/")}


def print_attempts(attempts: list[Attempt]) -> None:
    for attempt in attempts:
        mark = "refused" if attempt.refused else "SUCCEEDED"
        print(f"          {attempt.what:<52} {mark:<9} {attempt.answer}", flush=True)


def maintain(world: Demo) -> None:
    say("maintenance: forget, prune and lock again, all repositories")
    run = world.run("maintenance", "maintenance.log")
    results = [result.result for result in run.of(task="Forget, prune and lock again") if "windows" in result.result]
    require(len(results) == len(HOSTS), "Maintenance did not reach every repository.")
    windows = [window for result in results for window in result["windows"]]
    summary["windows"] = [{name: window[name] for name in ("repository", "prefixes", "seconds")} for window in windows]
    removed = sum(len(result["removed"]) for result in results)
    require(removed > 0, "Maintenance found nothing to forget.")
    require(not world.open_prefixes(), "Maintenance left something unlocked.")
    freed = sum(result["bytes_removed"] for result in results) / 2**20
    say(f"       {removed} snapshots gone, {freed:.1f} MiB freed, {len(windows)} windows, the longest "
        f"{max(window['seconds'] for window in windows):.1f} s")  # fmt: skip


def kill_maintenance(world: Demo) -> None:
    say("maintenance again, and Ansible is killed (-9) while data/ and index/ are unlocked")
    world.stand_in.clear_log()
    # Slow enough that a window lasts longer than it takes to see it.
    world.stand_in.fault(kind="DeleteObjects", delay=3.0, times=0)
    process = world.start("maintenance", DEMO / "logs" / "maintenance-killed.log")[0]
    while not deleting(found := world.open_prefixes()):
        require(process.poll() is None, "Maintenance ended before data/ and index/ were unlocked.")
        time.sleep(0.02)
    killed = kill_ansible(process)
    say(f"       killed while open: {', '.join(sorted(found))}")
    deadline = time.monotonic() + 60
    while world.open_prefixes():
        require(time.monotonic() < deadline, "A minute after the kill something is still unlocked.")
        time.sleep(0.02)
    world.stand_in.clear_faults()
    ends = [entry["to"] for entry in world.stand_in.ledger()["exposures"]]
    seconds = round(max(ends) - killed, 2)
    require(seconds > 0, "Ansible was killed when everything was locked already.")
    summary["kill"] = {"relocked_after_seconds": seconds}
    say(f"       everything is locked again {seconds} s after the kill")


def deleting(prefixes: set[str]) -> bool:
    return any(prefix.endswith(("/data/", "/index/")) for prefix in prefixes)


def encrypt(world: Demo) -> tuple[dict[str, bytes], str]:
    """The files as they were, and the snapshot that still has them."""
    original = world.files(world.root(VICTIM) / "srv")
    say(
        f"ransomware again: it encrypts the {world.encrypt_files(VICTIM)} files of {VICTIM}, and the next backup is made"
    )
    world.back_up(VICTIM)
    run = world.run("verify", "verify-encrypted.log", alarms=True)
    signals = [one for result in run.of() for one in result.result.get("signals") or ()]
    seen = [one for one in signals if one["code"] == "looks_encrypted"]
    require(bool(seen), "verify did not notice that files were encrypted.")
    good = str(seen[0]["last_good"])
    say(f"       verify fails: {seen[0]['evidence'].partition(' (')[0]}")
    say(f"       the last good snapshot is {good[:8]}, stored {seen[0]['last_good_stored']}")
    run = world.run("maintenance", "maintenance-held.log", "-l", VICTIM)
    pruned = [result.result for result in run.of() if "removed" in result.result and "kept" in result.result]
    kept = {one["id"] for result in pruned for one in result["kept"]}
    require(good in kept and not any(result["removed"] for result in pruned), "Maintenance did not hold what is good.")
    summary["encrypted"] = {"signals": sorted({one["code"] for one in signals}), "held": len(kept)}
    say(f"       maintenance is green, and holds all {len(kept)} snapshots until a person accepts that")
    return original, good


def restore(world: Demo, original: dict[str, bytes], snapshot: str) -> None:
    name = VICTIM
    target = DEMO / "restored"
    say(f"restore of the last good snapshot of {name}")
    variables = {
        "holdfast_restore_host": name,
        "holdfast_restore_snapshot": snapshot,
        "holdfast_restore_target": str(target),
        "holdfast_restore_roots": [str(DEMO)],
    }
    world.run("restore", "restore.log", "-e", json.dumps(variables))
    source = world.root(name) / "srv"
    restored = world.files(target / source.relative_to("/"))
    names = original.keys() | restored.keys()
    different = [path for path in names if original.get(path) != restored.get(path)]
    summary["restore"] = {"files": len(names), "different": len(different)}
    require(len(names) > 0 and not different, f"{len(different)} of {len(names)} restored files differ.")
    say(f"       {len(names)} files, compared byte by byte: all equal")


def look_again(world: Demo) -> None:
    say("site once more, which must find everything as it should be")
    run = world.run("site", "site-again.log")
    changed = sum(counts["changed"] for counts in run.recap.values())
    summary["second_site_run"] = {"changed": changed}
    require(changed == 0, f"The second run of site changed {changed} things.")


def look_at_page(world: Demo) -> None:
    say("report: a page for those who did not watch")
    world.run("report", "report.log")
    told = json.loads((DEMO / "report" / "report.json").read_text(encoding="utf-8"))
    worst, unlocked = told["hosts"][0], told["unlocked_30_days"]
    require(worst["name"] == VICTIM and bool(worst["signals"]), f"The page does not say that {VICTIM} was attacked.")
    safe = worst["signals"][0]["last_good"]
    require(safe is not None, f"The page does not say when {VICTIM} was safe.")
    require(unlocked["windows"] > 0 and unlocked["open_now"] == 0, "The page does not say what was unlocked.")
    summary["page"] = {"attacked": VICTIM, "last_safe": safe, "unlocked": unlocked}
    say(f"       {told['protected']} of {told['hosts_total']} hosts are protected; {VICTIM} was safe until {safe}")


def look_at_metrics(world: Demo) -> None:
    metrics = DEMO / "metrics" / "holdfast.prom"
    if not (PROGRAMS / "prometheus").exists():
        say(f"metrics are in {metrics.relative_to(ROOT)}; no Prometheus reads them, for `make prometheus` has not run")
        return
    say("metrics: a real Prometheus reads them, with the alert rules of monitoring/")
    world.doing = "Prometheus begins"
    told = json.loads((DEMO / "report" / "report.json").read_text(encoding="utf-8"))["hosts"]
    snapshots = {host["name"]: sum(job["snapshots"] for job in host["jobs"]) for host in told}
    with prometheus(metrics, world.folder("prometheus")) as server:
        query = "sum by (host) (holdfast_job_snapshots)"
        require(happens(lambda: len(server.ask(query)) == len(HOSTS)), "Prometheus does not know all hosts.")
        found = {one["metric"]["host"]: int(one["value"][1]) for one in server.ask(query)}
        require(found == snapshots, f"Prometheus knows of {found} snapshots, the page of {snapshots}.")
        alarm = 'ALERTS{alertname="HoldfastLooksEncrypted",alertstate="firing"}'
        require(happens(lambda: bool(server.ask(alarm))), "Prometheus does not alarm.")
        hosts = {one["metric"]["host"] for one in server.ask(alarm)}
        require(hosts == {VICTIM}, f"Prometheus alarms because of {', '.join(sorted(hosts))}.")
    summary["metrics"] = {"snapshots": sum(found.values()), "alarms": sorted(hosts)}
    say(f"       it counts {sum(found.values())} snapshots, and alarms: {VICTIM} looks encrypted")


def print_summary() -> None:
    path = DEMO / "summary.json"
    path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    attacks, windows = summary.get("attacks", {}), summary.get("windows", [])
    seconds = [window["seconds"] for window in windows]
    lines = [
        ("attacks refused", f"{attacks.get('refused', '-')} of {attacks.get('tried', '-')}"),
        (
            "windows of maintenance",
            f"{len(windows)}, {sum(seconds):.1f} s in all, the longest {max(seconds, default=0):.1f} s",
        ),
        ("locked again after kill -9", f"{summary.get('kill', {}).get('relocked_after_seconds', '-')} s"),
        ("looks like ransomware", ", ".join(summary.get("encrypted", {}).get("signals", ["-"]))),
        (
            "files restored / different",
            "{files} / {different}".format(**summary.get("restore", {"files": "-", "different": "-"})),
        ),
        ("changes by a second site run", str(summary.get("second_site_run", {}).get("changed", "-"))),
    ]
    print("\n" + "\n".join(f"  {name:<30} {value}" for name, value in lines))
    print(f"\n  {path.relative_to(ROOT)}, logs in .demo/logs, and the hosts in .demo/hosts, stay for you to look at.")
    print(
        "  Open .demo/report/index.html: which host was attacked, when was it last safe, what was unlocked for how long?\n"
    )


def main() -> int:
    failure = ""
    try:
        with Demo() as world, never_silent(world):
            provision(world)
            back_up(world, range(1, 5))
            attack(world)
            maintain(world)
            back_up(world, range(5, 8))
            kill_maintenance(world)
            restore(world, *encrypt(world))
            look_again(world)
            look_at_page(world)
            look_at_metrics(world)
    except Broken as error:
        failure = str(error)
    print_summary()
    if failure:
        print(f"BROKEN: {failure}", file=sys.stderr)
        return 1
    say("Every promise held.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
