#!/usr/bin/env bash
# Run galaxy-importer on the one built collection in a folder: importer.sh VENV FOLDER
# It logs what it finds and exits 0 all the same: warnings and errors in the log are failures here.
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail

venv=$(cd "${1:?usage: importer.sh VENV FOLDER}" && pwd)
cd "$2"
export PATH=$venv/bin:$PATH
export GALAXY_IMPORTER_CHECK_REQUIRED_TAGS=true
archives=(./*.tar.gz)
python -m galaxy_importer.main "${archives[0]##*/}" 2>&1 | tee importer.log
if grep -E '^(WARNING|ERROR|CRITICAL)' importer.log >/dev/null; then
    echo "galaxy-importer found something: see above." >&2
    exit 1
fi
