#!/usr/bin/env bash
# Runs the native engine's tests, altered networks and programs through its checks, and altered files through mest-run,
# under AddressSanitizer with UndefinedBehaviorSanitizer, then the tests under ThreadSanitizer.
# usage: tests/native_sanitizers.sh [--short] [PYTEST-ARGUMENTS...]   (PYTHON names the interpreter; needs gcc)
# --short takes two instruction sets, the best one that a board has a like of and the plain reference, and fewer tests:
# about a minute and a half. MEST_FUZZ_CASES and MEST_FUZZ_SEED say how many networks are altered, and where to begin.
# The sanitized library is built in a copy of the sources, so that the library in use stays as it is.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
cases=20000
tests=(tests/edge/engines/native/test_native_operators.py tests/edge/engines/native/test_native_convolution.py tests/edge/engines/native/test_native_engine.py)
tests+=(tests/edge/engines/native/test_native_{arena,saved}.py tests/edge/engines/test_losses.py)
fuzz=(tests/edge/libmest/test_native_fuzz.py tests/edge/libmest/test_native_programs.py)
fuzz+=(tests/edge/compiled/test_{compiled_files,compiled_pictures,compiled_collect,compiled_endings,c_library}.py)
sets=
if [ "${1:-}" = --short ]; then
  shift
  sets="avx2 scalar neon"
  cases=3000
  tests=(tests/edge/engines/native/test_native_operators.py tests/edge/engines/test_losses.py)
  tests+=(tests/edge/engines/native/test_native_convolution.py::test_{windows,threads_and_tiles,groups_and_depthwise})
  tests+=(tests/edge/engines/native/test_native_saved.py::test_nothing_but_gradients_changes)
fi
export MEST_FUZZ_CASES=${MEST_FUZZ_CASES:-$cases}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$root/edge" "$root/tests" "$root/pyproject.toml" "$work/"
cd "$work"

# name, compiler options, runtime library, options of the sanitizer, then tests and arguments of pytest
run() {
  echo "== $1"
  export MEST_CC=gcc MEST_CFLAGS="$2 -g1 -O1 -fno-omit-frame-pointer" MEST_ONLY_SETS=$sets MEST_RUNNER=$work/mest-run
  "$python" -m edge.libmest.build
  "$python" -m edge.libmest.build "$MEST_RUNNER" edge/libmest/libmest.so
  env LD_PRELOAD="$(gcc -print-file-name="$3")" "$4" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONMALLOC=malloc \
    "$python" -m pytest -q -p no:cacheprovider "${@:5}"
}

run "addresses and undefined behaviour" "-fsanitize=address,undefined -fno-sanitize-recover=all" libasan.so \
  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 "${tests[@]}" "${fuzz[@]}" "$@"
run "threads" "-fsanitize=thread" libtsan.so TSAN_OPTIONS=halt_on_error=1:exitcode=66:report_bugs=1 "${tests[@]}" "$@"
