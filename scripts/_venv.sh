# Sourced by the other scripts: makes .venv and installs the package into it, once per set of extras.
# Usage: make_venv EXTRAS   (leaves the interpreter in $PYTHON)

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$ROOT/.venv"

find_python() {
  for name in ${CLEARBAR_PYTHON:-} python3.12 python3.13 python3.11 python3; do
    if "$name" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  echo "needs Python 3.11, 3.12 or 3.13 with venv: install one, or set CLEARBAR_PYTHON to its path" >&2
  exit 3
}

make_venv() {
  local extras=$1 python stamp
  PYTHON="$VENV/bin/python"
  stamp="$VENV/installed-$(cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" | cksum | cut -d' ' -f1)-$extras"
  if [ -x "$PYTHON" ] && [ -f "$stamp" ]; then return 0; fi
  if [ ! -x "$PYTHON" ] || ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || exit 3
    echo "making $VENV with $python" >&2
    "$python" -m venv --clear "$VENV" || { echo "cannot make a virtual environment in $VENV" >&2; exit 3; }
  fi
  echo "installing clearbar[$extras] (a few minutes the first time)" >&2
  PIP_DISABLE_PIP_VERSION_CHECK=1 "$PYTHON" -m pip install --quiet --no-input \
    --constraint "$ROOT/constraints.txt" --editable "$ROOT[$extras]" >&2 </dev/null || return 1
  touch "$stamp"
}
