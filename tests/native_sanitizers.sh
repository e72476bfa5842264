#!/usr/bin/env bash
# Runs the native engine's tests under AddressSanitizer with UndefinedBehaviorSanitizer, then under ThreadSanitizer.
# usage: tests/native_sanitizers.sh [PYTEST-ARGUMENTS...]    (PYTHON names the interpreter; needs gcc)
# The sanitized library is built in a copy of the sources, so that the library in use stays as it is.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$root/edge" "$root/tests" "$root/pyproject.toml" "$work/"
cd "$work"
tests=(tests/edge/test_native_convolution.py tests/edge/test_native_operators.py tests/edge/test_native_engine.py)

run() { # name, compiler options, runtime library, options of the sanitizer
  echo "== $1"
  MEST_CC=gcc MEST_CFLAGS="$2 -g -O1 -fno-omit-frame-pointer" "$python" -m edge.native.build
  env LD_PRELOAD="$(gcc -print-file-name="$3")" "$4" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONMALLOC=malloc \
    "$python" -m pytest -q -p no:cacheprovider "${tests[@]}" "${@:5}"
}

run "addresses and undefined behaviour" "-fsanitize=address,undefined -fno-sanitize-recover=all" libasan.so \
  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 "$@"
run "threads" "-fsanitize=thread" libtsan.so TSAN_OPTIONS=halt_on_error=1:exitcode=66:report_bugs=1 "$@"
