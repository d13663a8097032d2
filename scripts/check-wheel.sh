#!/usr/bin/env bash
# Builds the sdist and the wheel, checks their contents, and uses the wheel in empty environments.
#
# PYTHON names an interpreter that has build and twine.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
# The lowest versions that pyproject.toml admits, the newest protobuf 6, and the newest of everything.
sets=("protobuf==5.29.3 grpcio==1.68.1 googleapis-common-protos==1.66.0" "protobuf==6.33.*" "protobuf==7.*")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -I -m build --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
"$python" -I -m twine check --strict "$work"/dist/*

top=$("$python" -I -m zipfile --list "$work"/dist/*.whl | awk 'NR > 1 { split($1, part, "/"); print part[1] }' | sort -u | grep -v '\.dist-info$' | xargs)
if [ "$top" != "yagrpc yagrpc_proto" ]; then
    echo "the wheel contains at top level: $top" >&2
    exit 1
fi

for versions in "${sets[@]}"; do
    venv="$work/${versions%% *}"
    "$python" -I -m venv "$venv"
    read -r -a requirements <<<"$versions"
    "$venv/bin/python" -I -m pip install --quiet --disable-pip-version-check \
        "$(echo "$work"/dist/*.whl)[cli]" "${requirements[@]}"
    # In a separate folder, so that Python finds only the installed packages.
    script=$PWD/scripts/use_wheel.py
    (cd "$venv" && bin/python -I -W error "$script")
    (cd "$venv" && bin/yagrpc --version)
done
echo "the wheel and the sdist are fine"
