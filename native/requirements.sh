#!/bin/sh
# What a build needs and pip cannot bring. Says, in one line, the command that installs what is missing.
# Usage: requirements.sh PYTHON
python=${1:-python3}
command -v "$python" >/dev/null 2>&1 || { echo "hashmill: no Python: sudo apt-get install python3 python3-venv python3-dev gcc" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || { echo "hashmill: $("$python" --version) is too old: Python 3.11 or newer is needed (make PYTHON=python3.12 ...)" >&2; exit 1; }
header=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h
missing=
command -v "${CC:-cc}" >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
[ -e "$header" ] || missing="$missing python3-dev"
"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"
[ -z "$missing" ] || { echo "hashmill: cannot build yet: sudo apt-get install$missing" >&2; exit 1; }
