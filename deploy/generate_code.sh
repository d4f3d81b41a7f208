#!/usr/bin/env bash
# Generates the Python code of proto/ into the folder that is named.
set -euo pipefail
out=$1
rm -rf "$out/bithedge"
mkdir -p "$out"
includes=$(python -c 'import grpc_tools, pathlib; print(pathlib.Path(grpc_tools.__file__).parent / "_proto")')
mapfile -t protos < <(cd proto && find bithedge -name '*.proto' | sort)
python -m grpc_tools.protoc -I proto -I "$includes" --python_out="$out" --grpc_python_out="$out" \
    --mypy_out="quiet:$out" --mypy_grpc_out="quiet:$out" "${protos[@]}"
