#!/bin/sh
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Install axe-core, which finds what makes a page hard to use for some people, into .cache/axe.
# Does nothing when it is there already. Prints where it is.
set -eu

AXE=4.14.1

cd "$(dirname "$0")/.."
target="$PWD/.cache/axe"
script="$target/node_modules/axe-core/axe.min.js"
if [ ! -f "$script" ] || [ ! -f "$target/.axe-$AXE" ]; then
    command -v npm >/dev/null || { echo "There is no npm: install it, or leave out what needs axe-core." >&2; exit 3; }
    mkdir -p "$target"
    npm install --prefix "$target" --ignore-scripts --no-audit --no-fund --loglevel=error "axe-core@$AXE" >&2
    : > "$target/.axe-$AXE"
fi
printf '%s\n' "$script"
