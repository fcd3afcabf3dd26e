#!/usr/bin/env bash
# Write requirements/runtime.txt and dev.txt from pyproject.toml: `make lock`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v uv >/dev/null || { echo "lock.sh needs uv: pip install uv" >&2; exit 1; }

options=(
  --quiet --python-version 3.11 --generate-hashes
  --no-emit-index-url --no-emit-find-links --no-annotate --no-header
)
uv pip compile pyproject.toml --extra server "${options[@]}" "$@" --output-file requirements/runtime.txt
# What tests run on is what ships: shared dependencies keep the versions of runtime.txt.
uv pip compile pyproject.toml --group dev --extra cli --extra server "${options[@]}" "$@" \
  --constraint requirements/runtime.txt --output-file requirements/dev.txt
