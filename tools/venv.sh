#!/usr/bin/env bash
# Make or update a virtual environment: venv.sh FOLDER VERSION[,VERSION...] REQUIREMENTS...
# The first of the Python versions that this machine has is taken. Nothing is done when nothing has changed.
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:?usage: venv.sh FOLDER VERSION[,VERSION...] REQUIREMENTS...} versions=$2
shift 2
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

exec 9>"$folder.lock"
flock 9

python=
for version in ${versions//,/ }; do
    python=$("$tools/python.sh" "$version" 2>/dev/null) && break
done
if [[ -z $python ]]; then
    echo "No Python ${versions//,/ or } was found on this machine: install one and try again." >&2
    exit 1
fi

stamp=$({ echo "$folder" "$python"; cat "$@"; } | sha256sum | cut -d' ' -f1)
if [[ -f $folder/stamp && $(<"$folder/stamp") == "$stamp" ]] && "$folder/bin/python" -c '' 2>/dev/null; then
    exit 0
fi

if ! "$folder/bin/python" -c "import pip, sys; sys.exit('$version' != '%d.%d' % sys.version_info[:2])" 2>/dev/null; then
    # Debian's Python comes without ensurepip, which python3-venv brings.
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        "$tools/system.sh" "ensurepip-of-python$version=python$version-venv"
    fi
    "$python" -m venv --clear "$folder"
fi
echo "Installing into ${folder#"$PWD/"} (Python $version): ${*##*/} ..." >&2
# Not compiled: of thousands of files some hundred are ever imported, and those then once.
requirements=()
for file in "$@"; do requirements+=(-r "$file"); done
"$folder/bin/python" -m pip install -qq --no-compile --disable-pip-version-check --no-input "${requirements[@]}" 9>&-
echo "$stamp" >"$folder/stamp"
