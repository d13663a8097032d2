#!/usr/bin/env bash
# Regenerates generated/yagrpc_proto from proto/, and the example's package from its proto. It uses pinned tools, in an
# environment that it creates itself.
#
#   scripts/gen.sh           write the packages
#   scripts/gen.sh --check   write nothing; fail if a file differs from what the protos give
#
# PYTHON names the interpreter for the environment (default python3; 3.10 to 3.13 have wheels of the tools).
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1-}
if [ $# -gt 1 ] || { [ -n "$mode" ] && [ "$mode" != --check ]; }; then
    echo "usage: scripts/gen.sh [--check]" >&2
    exit 2
fi

# Source folder, output folder, package.
trees=(
    "proto generated yagrpc_proto"
    "examples/proofreading examples/proofreading/generated proofreading_proto"
)
requirements=scripts/gen-requirements.txt
venv=.venv-gen

if ! cmp -s "$requirements" "$venv/requirements.txt"; then
    rm -rf "$venv"
    "${PYTHON:-python3}" -I -m venv "$venv"
    "$venv/bin/python" -I -m pip install --quiet --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$venv/requirements.txt"
fi

# -I, and this folder last on the path: nothing that merely lies here is imported in place of what is installed.
run='import sys; sys.path.append(sys.argv.pop(1)); from yagrpc.codegen.__main__ import main; sys.exit(main())'

generate() {
    "$venv/bin/python" -I -B -c "$run" "$PWD" --proto "$1" --out "$2" --package "$3"
}

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

for tree in "${trees[@]}"; do
    read -r source out package <<<"$tree"
    if [ -z "$mode" ]; then
        generate "$source" "$out" "$package"
        echo "$out/$package is up to date"
        continue
    fi
    generate "$source" "$fresh/$out" "$package"
    if ! diff --recursive --brief --exclude=__pycache__ "$fresh/$out" "$out"; then
        echo "$out/ differs from what $source/ gives: run scripts/gen.sh and commit the result" >&2
        exit 1
    fi
    # The files are right; git must also track them, so that a clone has them.
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        untracked=$(git ls-files --others --exclude='__pycache__/' -- "$out")
        if [ -n "$untracked" ]; then
            printf 'generated files that git does not track:\n%s\n' "$untracked" >&2
            exit 1
        fi
    fi
    echo "$out/ matches $source/"
done
