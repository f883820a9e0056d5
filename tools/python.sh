#!/usr/bin/env bash
# Print the real program of one Python version: python.sh 3.11
# Shims of version managers are looked through: those that do not run are passed over.
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail

version=${1:?usage: python.sh VERSION}
ask='import os, sys
base = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
print("%d.%d %s" % (sys.version_info[0], sys.version_info[1], base))'

candidates() {
    type -aP "python$version" || true
    for manager in "${PYENV_ROOT:-${HOME-}/.pyenv}/versions" "${HOME-}/.local/share/uv/python" /opt/python; do
        ls -d "$manager"/*"$version"*/bin/"python$version" 2>/dev/null || true
    done
    echo "/usr/local/bin/python$version"
    echo "/usr/bin/python$version"
}

while IFS= read -r candidate; do
    # A shim may work because of a .python-version file that other folders do not have: take what it stands for.
    answer=$("$candidate" -I -c "$ask" 2>/dev/null </dev/null) || continue
    if [[ $answer == "$version "* && $("${answer#* }" -I -c "$ask" 2>/dev/null) == "$answer" ]]; then
        echo "${answer#* }"
        exit 0
    fi
done < <(candidates)
echo "There is no Python $version on this machine." >&2
exit 1
