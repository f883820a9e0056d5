#!/usr/bin/env bash
# Make or update a virtual environment: venv.sh FOLDER VERSION[,VERSION...] REQUIREMENTS...
# The first of the Python versions that this machine has is taken. Nothing is done when nothing has changed.
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:?usage: venv.sh FOLDER VERSION[,VERSION...] REQUIREMENTS...} versions=$2
shift 2
mkdir -p "$folder"
folder=$(cd "$folder" && pwd) cache=$(cd "$folder/.." && pwd)
UV='uv 0.13.9'

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
pip=("$folder/bin/python" -m pip) quiet=(--quiet --disable-pip-version-check --no-input)

# uv installs in seconds what takes pip more than a minute. It does not read pip's settings: with an index of
# one's own, and wherever else it fails, pip installs.
with_uv() {
    local uv=$cache/uv/bin/uv
    if [[ -n ${PIP_INDEX_URL-} ]] || "${pip[@]}" config get global.index-url >/dev/null 2>&1; then return 1; fi
    exec 8>"$cache/uv.lock"
    flock 8
    if ! "$uv" --version 2>/dev/null | grep -q "^$UV\b"; then
        "${pip[@]}" install "${quiet[@]}" --prefix "$cache/uv" --no-deps "${UV/ /==}" 8>&- 9>&- || return 1
    fi
    exec 8>&-
    UV_CACHE_DIR=$cache/packages "$uv" pip install --quiet --system-certs --python "$folder/bin/python" "${requirements[@]}" 9>&-
}
with_uv || "${pip[@]}" install "${quiet[@]}" --no-compile "${requirements[@]}" 9>&-
echo "$stamp" >"$folder/stamp"
