#!/usr/bin/env bash
# Install Debian packages whose program is missing: system.sh PROGRAM=PACKAGE...
# Only root can; anybody else is told what to ask for.
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail

packages=()
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || packages+=("${pair#*=}")
done
[[ ${#packages[@]} -gt 0 ]] || exit 0
if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
    echo "Missing on this machine: ${packages[*]}. Install it with the system's package manager" \
        "(on Debian: apt-get install ${packages[*]}) and try again." >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# Several parts of a run may want something at the same time, and apt waits for nobody.
exec 9<"${BASH_SOURCE[0]}"
flock 9
echo "Installing ${packages[*]} ..." >&2
install=(apt-get -o DPkg::Lock::Timeout=300 install --yes --quiet --no-install-recommends "${packages[@]}")
"${install[@]}" >/dev/null 2>&1 || { apt-get update --quiet >/dev/null && "${install[@]}" >/dev/null; } 9<&-
