#!/usr/bin/env bash
# Builds the sdist and the wheel, looks at what they hold, and uses the wheel in empty environments.
#
# PYTHON names an interpreter that has build and twine. PROTOBUF lists the protobuf versions to try (default: 6.33 and 7).
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
"$python" -m twine check --strict "$work"/dist/*

top=$("$python" -m zipfile --list "$work"/dist/*.whl | awk 'NR > 1 { split($1, part, "/"); print part[1] }' | sort -u | grep -v '\.dist-info$' | xargs)
if [ "$top" != "yagrpc yagrpc_proto" ]; then
    echo "the wheel holds at top level: $top" >&2
    exit 1
fi

for protobuf in ${PROTOBUF:-6.33 7}; do
    venv="$work/protobuf-$protobuf"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        "$(echo "$work"/dist/*.whl)[cli]" "protobuf==$protobuf.*"
    # From a folder of its own, so that only what was installed can be found.
    script=$PWD/scripts/use_wheel.py
    (cd "$venv" && bin/python -W error "$script")
    (cd "$venv" && bin/yagrpc --version)
done
echo "the wheel and the sdist are fine"
