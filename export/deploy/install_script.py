"""The shell program of a bundle for boards without Python: what it is asked, and what it does there.

It needs what every small system has: a POSIX shell, tail, tar, sha256sum, sed, mv, ln. `NAME` and the like between @
stand for what a bundle says of itself; the archive follows the last line.
"""

from __future__ import annotations

from collections.abc import Mapping

START = """#!/bin/sh
# A command of mest-run on the plan of this version: start COMMAND [OPTIONS], for example: start info
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd -P) || exit 2
[ $# -gt 0 ] || exec "$here/mest-run"
command=$1
shift
exec "$here/mest-run" "$command" "$here/plan.mest" "$@"
"""

_SCRIPT = r"""#!/bin/sh
# A network that trains on boards without Python: sh FILE check | install | back [--place DIR]
version=@VERSION@
identity=@IDENTITY@
target=@TARGET@
expires=@EXPIRES@
sha256=@SHA256@
lines=@LINES@
name=$version-$(printf %.12s "$identity")
file=${0##*/}

say() { printf '%s\n' "$1"; }
refuse() { printf '%s: %s\n' "$file" "$2" >&2; exit "$1"; }
tried() { "$@" || refuse 2 "$1 failed; nothing was activated"; }
held() { sed -n "s/.*\"$1\": *\"\{0,1\}\([0-9a-f]*\).*/\1/p" "$place/newest.json" 2>/dev/null; }
link() { readlink "$place/$1" 2>/dev/null | sed 's|.*/||'; }
point() {
    rm -f "$place/.$1.new"
    tried ln -s "versions/$2" "$place/.$1.new"
    mv -fT "$place/.$1.new" "$place/$1" 2>/dev/null && return
    rm -f "$place/$1"
    tried mv "$place/.$1.new" "$place/$1"
}

whole() {
    command -v sha256sum >/dev/null || refuse 2 "needs the program sha256sum, which this system lacks"
    found=$(tail -n +$((lines + 1)) "$0" | sha256sum)
    [ "${found%% *}" = "$sha256" ] || refuse 4 "does not match its SHA-256; it was truncated or altered: copy it again"
    [ -z "$expires" ] || [ "$(date -u +%Y%m%d)" -le "$(printf %s "$expires" | tr -d -)" ] ||
        refuse 4 "was to be installed until $expires, and it is $(date -u +%Y-%m-%d); make a new one, or set the clock"
}

fits() {
    if [ -e "$place/allowed_signers" ]; then
        refuse 4 "carries no signature, and $place/allowed_signers asks for one; install it into another --place"
    fi
    newest=$(held version)
    [ "$version" -le "${newest:-0}" ] || return 0
    [ "$version $identity" = "$newest $(held identity)" ] ||
        refuse 4 "is version $version, and version $newest was active here already; make it again with a higher one"
}

unpack() {
    new=$place/versions/.$name.new
    rm -rf "$new"
    mkdir -p "$new" || refuse 2 "$new cannot be made; give another --place"
    if ! tail -n +$((lines + 1)) "$0" | tar -x -f - -C "$new"; then
        rm -rf "$new"
        refuse 2 "cannot be unpacked at $place; make room there, or give another --place"
    fi
    said=$("$new/mest-run" info "$new/plan.mest" 2>&1 >/dev/null)
    code=$?
    if [ "$code" -ne 0 ]; then
        rm -rf "$new"
        [ "$code" -lt 126 ] ||
            refuse 2 "its program for $target does not run here, on $(uname -m); make one with another --target"
        refuse "$code" "${said:-its program refuses its plan}"
    fi
    sync
    rm -rf "$place/versions/$name"
    tried mv "$new" "$place/versions/$name"
}

activate() {
    before=$(link active)
    [ "$before" != "$name" ] || return 0
    newest=$(held version)
    if [ "$version" -ge "${newest:-0}" ]; then
        printf '{"version": %s, "identity": "%s"}\n' "$version" "$identity" >"$place/.newest.json" ||
            refuse 2 "no room at $place; nothing was activated"
        tried mv -f "$place/.newest.json" "$place/newest.json"
    fi
    [ -z "$before" ] || point before "$before"
    point active "$name"
    sync
}

install() {
    whole
    fits
    [ -e "$place/versions/$name/mest-run" ] || unpack
    activate
    for one in "$place"/versions/*; do
        [ -e "$one/mest-run" ] || continue
        case ${one##*/} in "$(link active)" | "$(link before)") ;; *) rm -rf "$one" ;; esac
    done
    say "$name is active; use $place/active/start COMMAND OPTIONS"
}

back() {
    before=$(link before)
    [ -n "$before" ] && [ "$before" != "$(link active)" ] && [ -e "$place/versions/$before" ] ||
        refuse 2 "$place holds no version from before the active one; there is nothing to go back to"
    point active "$before"
    say "$before is active again"
}

asked=${1:-help}
[ $# -eq 0 ] || shift
place=$HOME/.mest
case $#:${1:-} in
0:) ;;
2:--place) place=$2 ;;
*) refuse 2 "$1: allowed is --place DIR" ;;
esac
case $place in /*) ;; *) place=$PWD/$place ;; esac
case $asked in
check) whole && say "version $version for $target, whole" ;;
install) install ;;
back) back ;;
*) refuse 2 "give check, install or back, and --place DIR (default $HOME/.mest)" ;;
esac
exit
"""


def install_script(facts: Mapping[str, str]) -> bytes:
    """The program of a bundle with its facts: VERSION, IDENTITY, TARGET, EXPIRES, and SHA256 of the archive behind."""
    text = _SCRIPT
    for name, value in {**facts, "LINES": str(_SCRIPT.count("\n"))}.items():
        text = text.replace(f"@{name}@", value)
    return text.encode("ascii")


def script_lines() -> int:
    """The lines of every such program."""
    return _SCRIPT.count("\n")
