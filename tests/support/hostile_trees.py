# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots that an owned host can write and restic itself never would, each with an honest part beside the rest.

Names are written as Go quotes them: `\\\\xff` in a name stands for a byte.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.holdfast.restic_r2.plugins.module_utils._audit.restore_listing import LONGEST_SHOWN

from tests.support.repository_format import Key, name_of

Node = dict[str, Any]

TIME = "2026-11-26T01:00:00Z"
EVIL = b"* * * * * root id > /run/pwned\n"
# What Go adds to the bits of a mode.
SETUID, SETGID = 1 << 23, 1 << 22
DIR, LINK, PIPE, DEVICE, CHARACTER = 1 << 31, 1 << 27, 1 << 25, 1 << 26, 1 << 21
# The capability to change every owner, as the kernel writes it, in base64.
CAPABILITY = "AQAAAgEAAAAAAAAAAAAAAAAAAAA="


@dataclass
class Writer:
    """Collects the blobs of one snapshot."""

    blobs: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def _add(self, kind: str, content: bytes) -> str:
        self.blobs[name_of(content)] = (kind, content)
        return name_of(content)

    def node(self, name: str, kind: str, mode: int, **more: Any) -> Node:
        owner = {"uid": 0, "gid": 0, "user": "root", "group": "root"}
        times = dict.fromkeys(("mtime", "atime", "ctime"), TIME)
        return {"name": name, "type": kind, "mode": mode, **times, **owner, **more}

    def file(self, name: str, content: bytes = EVIL, mode: int = 0o644, **more: Any) -> Node:
        pieces = [self._add("data", content)] if content else []
        return self.node(name, "file", mode, size=len(content), content=pieces, **more)

    def twin(self, name: str) -> Node:
        """One of two names of the same file."""
        return self.file(name, links=2, inode=7, device_id=1)

    def link(self, name: str, target: str) -> Node:
        return self.node(name, "symlink", LINK | 0o777, linktarget=target)

    def folder(self, name: str, *nodes: Node, mode: int = 0o755) -> Node:
        return self.node(name, "dir", DIR | mode, subtree=self.tree(nodes))

    def tree(self, nodes: Iterable[Node]) -> str:
        return self._add("tree", json.dumps({"nodes": list(nodes)}, separators=(",", ":")).encode() + b"\n")

    def honest(self) -> Node:
        inner = self.folder("er", self.file("other", b"x" * 100_000, mode=0o600))
        odd = self.file("l\\xe4rm \\n*?[a]\\\\", b"odd\n")
        return self.folder("honest", self.folder("deep", inner), self.file("file", b"kept\n"), odd)

    def objects(self, key: Key, root: Iterable[Node], host: str = "web1") -> dict[str, bytes]:
        """The objects that make a snapshot of these entries, by their keys below the prefix."""
        top, pack, header, entries = self.tree(root), b"", b"", []
        for name, (kind, content) in self.blobs.items():
            sealed = key.seal(content)
            entries.append({"id": name, "type": kind, "offset": len(pack), "length": len(sealed)})
            header += struct.pack("<BI", kind == "tree", len(sealed)) + bytes.fromhex(name)
            pack += sealed
        sealed = key.seal(header)
        pack += sealed + struct.pack("<I", len(sealed))
        index = key.seal_json({"packs": [{"id": name_of(pack), "blobs": entries}]})
        snapshot = key.seal_json({"time": TIME, "tree": top, "paths": ["/"], "hostname": host, "username": "root"})
        return {
            f"data/{name_of(pack)[:2]}/{name_of(pack)}": pack,
            f"index/{name_of(index)}": index,
            f"snapshots/{name_of(snapshot)}": snapshot,
        }


# What is below honest/, and must come back as it is.
HONEST = {
    b"deep/er/other": b"x" * 100_000,
    b"file": b"kept\n",
    b"l\xe4rm \n*?[a]\\": b"odd\n",
}


@dataclass(frozen=True)
class Hostile:
    """A tree that reaches for a folder outside of its target.

    Attributes:
        make: Its entries beside the honest part, when the folder outside is given.
        left_out: What is told of it: paths, with OUTSIDE for the folder, and why.
    """

    make: Callable[[Writer, str], list[Node]]
    left_out: dict[str, str] = field(default_factory=dict)

    def told(self, outside: str) -> dict[str, str]:
        """What the module tells of it; long paths are cut."""
        return {path.replace("OUTSIDE", outside)[:LONGEST_SHOWN]: why for path, why in self.left_out.items()}

    def objects(self, key: Key, outside: str) -> dict[str, bytes]:
        writer = Writer()
        return writer.objects(key, [*self.make(writer, outside), writer.honest()])


def _folders(writer: Writer, levels: int) -> Node:
    node = writer.file("end")
    for _level in range(levels):
        node = writer.folder("d", node)
    return node


def _xattr(name: str, value: str) -> Node:
    return {"extended_attributes": [{"name": name, "value": value}]}


_CHANGED = {"mode": DIR | 0o777, "uid": 4321}
HOSTILE = {
    "link and folder of one name": Hostile(
        lambda w, out: [w.twin("p"), w.link("a", out), w.folder("a", w.twin("x"))], {"/a": "twice"}
    ),
    "link and folder of one name, with a link in it": Hostile(
        lambda w, out: [w.link("a", out), w.folder("a", w.link("x", "/etc/shadow"), w.node("y", "fifo", PIPE | 0o666))],
        {"/a": "twice"},
    ),
    "folder and link of one name, not side by side": Hostile(
        lambda w, out: [w.twin("p"), w.folder("a", w.twin("x")), w.file("b"), w.link("a", out)], {"/a": "twice"}
    ),
    "of one name that is not UTF-8": Hostile(
        lambda w, out: [w.twin("p"), w.link("\\xff", out), w.folder("\\xff", w.twin("x"))], {"/\ufffd": "twice"}
    ),
    "of one name with a newline": Hostile(
        lambda w, out: [w.twin("p"), w.link("a\\nb", out), w.folder("a\\nb", w.twin("x"))], {"/a\nb": "twice"}
    ),
    "deep below, of one name that looks like a pattern": Hostile(
        lambda w, out: [w.twin("p"), w.folder("q", w.link("*[?\\\\", out), w.folder("*[?\\\\", w.twin("x")))],
        {"/q/*[?\\": "twice"},
    ),
    "names that lead upwards": Hostile(
        lambda w, out: [
            w.file(".."),
            w.file(f"../..{out}/x"),
            w.file(f"{out}/x"),
            w.file(""),
            w.folder("a", w.folder("..", w.file("x"))),
        ],
        {"/": "name", "OUTSIDE/x": "name"},
    ),
    "a link to /proc, and a folder of its name": Hostile(
        lambda w, out: [w.twin("p"), w.link("proc", f"/proc/1/root{out}"), w.folder("proc", w.twin("x"))],
        {"/proc": "twice"},
    ),
    "links alone": Hostile(lambda w, out: [w.link("a", out), w.link("b", "/proc/self/root"), w.link("c", "../../..")]),
    "two folders of one name": Hostile(
        lambda w, out: [w.folder("a", w.file("x")), w.folder("a", w.file("y"))], {"/a": "twice"}
    ),
    "devices": Hostile(
        lambda w, out: [
            w.node("disk", "dev", DEVICE | 0o666, device=0x800),
            w.node("memory", "chardev", DEVICE | CHARACTER | 0o666, device=0x101),
            w.node("pipe", "fifo", PIPE | 0o666),
        ],
        {"/disk": "device", "/memory": "device"},
    ),
    "what gives rights": Hostile(
        lambda w, out: [
            w.file("both", mode=SETUID | SETGID | 0o755),
            w.file("group", mode=SETGID | 0o755),
            w.file("capable", mode=0o755, **_xattr("security.capability", CAPABILITY)),
            w.file("trusted", **_xattr("trusted.overlay.opaque", "eQ==")),
            w.file("labelled", **_xattr("security.selinux", "eQ==")),
        ],
        {"/both": "setuid", "/group": "setgid", "/capable": "capability"},
    ),
    "10,000 levels": Hostile(lambda w, out: [_folders(w, 10_000)], {"/d" * 5000: "long"}),
    "long names": Hostile(
        lambda w, out: [w.file("n" * 256), w.file("n" * 255), w.file("ä" * 70_000)],
        {"/" + "n" * 256: "long", "/" + "ä" * 70_000: "long"},
    ),
    "a name with NUL": Hostile(lambda w, out: [w.file("a\\x00b"), w.file("axb")], {"/a\0b": "name"}),
    "no kind of file": Hostile(
        lambda w, out: [w.node("odd", "irregular", 0o644), w.node("new", "{{ new }}", 0o644)],
        {"/odd": "type", "/new": "type"},
    ),
    "a folder that others may write": Hostile(lambda w, out: [{**w.folder("a", w.file("x")), **_CHANGED}]),
}
# Its listing ends at a folder that has no entries, not even none.
UNLISTED = Hostile(lambda w, out: [w.node("a", "dir", DIR | 0o755)])
