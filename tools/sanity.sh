#!/usr/bin/env bash
# Run ansible-test sanity: sanity.sh VENV COPY [ARGUMENT...]
#   VENV  a virtual environment with the ansible-core to use
#   COPY  the collection, in a folder called ansible_collections/NAMESPACE/NAME; several may run on it at a time
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$(cd "${1:?usage: sanity.sh VENV COPY [ARGUMENT...]}" && pwd) copy=$2
shift 2
cache=$(dirname "$venv")

# ansible-test runs every pythonX.Y that it finds on PATH, and stops at a version manager's shim that does not run.
pythons=$cache/pythons
mkdir -p "$pythons"
for minor in 8 9 10 11 12 13 14 15; do
    if python=$("$tools/python.sh" 3.$minor 2>/dev/null); then
        ln -sfn "$python" "$pythons/python3.$minor"
    fi
done

# ansible-test keeps its environments in the home folder and its results in the collection: both are this run's own.
export HOME=$cache/home-${venv##*/}
rm -rf "$HOME/stage"
mkdir -p "$HOME/stage"
cp -a "${copy%/ansible_collections/*}/ansible_collections" "$HOME/stage/"
copy=$HOME/stage/ansible_collections/${copy##*/ansible_collections/}

# ansible-test downloads a script that brings pip, unless it finds one in its cache. This one takes pip from the
# package index.
bootstrap=$HOME/.ansible/test/cache
mkdir -p "$bootstrap"
for version in 24.2 25.2; do
    script=$bootstrap/get_pip_${version//./_}.py
    [[ -f $script ]] && continue
    "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$bootstrap" "pip==$version"
    cat >"$script.part" <<PY
import pathlib, sys
sys.path.insert(0, str(next(pathlib.Path(__file__).parent.glob("pip-$version-*.whl"))))
from pip._internal.cli.main import main
sys.exit(main(["install", *(a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel"))]))
PY
    mv "$script.part" "$script"
done

export PATH=$venv/bin:$pythons:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd "$copy"
output=$cache/sanity-${venv##*/}.log
# What its pip prints is in the log only.
ansible-test sanity --color no "$@" 2>&1 | tee "$output" | { grep --line-buffered -E '^(Running|WARNING|ERROR|FATAL|See|[a-z-]+( --python .*)?$)' || true; }
if grep -q 'All targets skipped' "$output"; then
    echo "ansible-test found no files to test in $PWD." >&2
    exit 1
fi
