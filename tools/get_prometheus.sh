#!/bin/sh
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Put Debian's prometheus and promtool below .cache/prometheus; prints the folder of the programs. The package is only unpacked:
# installed, it would start a server. Does nothing when they are there already.
set -eu

cd "$(dirname "$0")/.."
target="$PWD/.cache/prometheus"
if [ ! -x "$target/usr/bin/promtool" ]; then
    command -v apt-get >/dev/null || { echo "There is no apt-get: install prometheus, or leave out what needs it." >&2; exit 3; }
    mkdir -p "$target"
    (
        flock 9
        [ -x "$target/usr/bin/promtool" ] && exit 0
        cd "$target"
        apt-get download -qq prometheus >&2 2>/dev/null || { apt-get update -qq >&2 && apt-get download -qq prometheus >&2; }
        dpkg -x prometheus_*.deb "$target" >&2
        rm -f prometheus_*.deb
    ) 9>"$target.lock"
fi
echo "$target/usr/bin"
