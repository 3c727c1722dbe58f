#!/usr/bin/env bash
# Fetches the headers of cudnn-frontend, which cuda/libraries/sdpa.cu is built with, into third_party/cudnn_frontend/include.
#
# They come from its Python wheel on PyPI (the same headers for every platform and Python) and are checked against a
# pinned hash. Does nothing when they are there already. Needs python3 with pip; PYTHON names another interpreter.
set -euo pipefail

version=1.18.0
sha256=382ea063b92cbfd5b442cb75ff8422932d78276aecf139e46713ed1ad3d07af4
python=${PYTHON:-python3}

cd "$(dirname "$0")/.."
target=third_party/cudnn_frontend

# major.minor.patch as the headers in folder $1 state it, or nothing
header_version() {
    local header=$1/include/cudnn_frontend_version.h
    [ -f "$header" ] || return 0
    awk '/#define CUDNN_FRONTEND_(MAJOR|MINOR|PATCH)_VERSION/ { v = v sep $3; sep = "." } END { print v }' "$header"
}

if [ "$(header_version "$target")" = "$version" ]; then
    echo "cudnn-frontend $version is in $target already"
    exit 0
fi

if ! "$python" -m pip --version >/dev/null 2>&1; then
    echo "fetch_cudnn_frontend: $python has no pip: install it (python3 -m ensurepip, or your system's python3-pip)" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "nvidia-cudnn-frontend==$version --hash=sha256:$sha256" >"$work/requirements.txt"
"$python" -m pip download --quiet --no-deps --only-binary=:all: --require-hashes --dest "$work" \
    --python-version 3.11 --implementation cp --platform manylinux_2_28_x86_64 -r "$work/requirements.txt"
"$python" -m zipfile -e "$work"/nvidia_cudnn_frontend-"$version"-*.whl "$work/wheel"

found=$(header_version "$work/wheel")
if [ "$found" != "$version" ]; then
    echo "fetch_cudnn_frontend: the wheel holds headers of version '$found', not $version" >&2
    exit 1
fi
rm -rf "$target" "$target.new"
mkdir -p "$target.new"
cp -R "$work/wheel/include" "$work"/wheel/*.dist-info/licenses/LICENSE* "$target.new/"
mv "$target.new" "$target"
echo "cudnn-frontend $version is in $target"
