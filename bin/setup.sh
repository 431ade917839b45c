# Makes .venv with the packages pinned in setup.py; sourced by bin/relayd and bin/test.
# Knows nothing of what they run. Fails with the reason on standard error and exit status 1, and leaves the
# .venv that was there as it was. $top is the checkout, absolute; NEED is relayd or test.

venv=$top/.venv

say() { printf 'relayd: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

# pins NEED: one a line. Starting Python to read setup.py would cost more than all the rest of a check.
pins() {
    sed -n -e '/^RUNTIME = \[/,/^\]/s/^ *"\([^"]*\)".*/\1/p' \
        -e '/^METRICS = \[/,/^\]/s/^ *"\([^"]*\)".*/\1/p' "$top/setup.py"
    [ "$1" = relayd ] || sed -n '/^TEST = \[/,/^\]/s/^ *"\([^"]*\)".*/\1/p' "$top/setup.py"
}

# stamp NEED "Python X.Y.Z": the line in .venv/.stamp that says it is right for both. Without the Z: packages
# are built for X.Y, and a security update of Python must not make a mail server download anything.
stamp() { printf '%s: %s, pins %s\n' "$1" "${2%.*}" "$(pins "$1" | sha256sum)"; }

# ready NEED: is .venv whole, and right? Asks the interpreter inside, which is no shim: 2 ms, and it fails
# when the Python it was made from is gone.
ready() {
    [ -r "$venv/.stamp" ] && version=$("$venv/bin/python" --version 2>/dev/null) || return 1
    grep -qxF "$(stamp "$1" "$version")" "$venv/.stamp" || return 1
    [ -n "${PYTHON-}" ] || return 0
    other=$("$PYTHON" --version 2>/dev/null) && [ "${other%.*}" = "${version%.*}" ]
}

# build NEED: make a new .venv beside the old one and put it in its place when it is complete. A relay that
# runs on the old one never misses a file, and a failure leaves it alone.
build() {
    new=$top/.venv.new
    python=${PYTHON:-python3}
    # The relay may run as another user than the one who sets it up.
    umask 022
    version=$("$python" --version 2>&1) ||
        fail "no Python: '$python' does not run. Install it: apt-get install python3 python3-venv"
    case $version in
        "Python 3.1"[1-9].* | "Python 3."[2-9][0-9].*) ;;
        *) fail "'$python' is $version; 3.11 or newer is needed. Name another one: PYTHON=... $0" ;;
    esac
    # Debian leaves ensurepip out of python3, and then venv fails half-way.
    "$python" -I -c 'import ensurepip, venv' 2>/dev/null ||
        fail "Python's venv module is missing. Install it: apt-get install python3-venv"
    # A left-over is from a set-up that was killed.
    rm -rf "$new" 2>/dev/null && mkdir "$new" 2>/dev/null ||
        fail "cannot write in $top; run this once as its owner"
    trap 'rm -rf "$new"' EXIT
    trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM
    say "setting up: making .venv with the packages pinned in setup.py (once; up to a minute)"
    log=$new/setup.log
    "$python" -I -m venv "$new" >"$log" 2>&1 || { tail -n 5 "$log" >&2; fail "making .venv failed"; }
    # Word splitting is wanted: a pin has no spaces.
    # shellcheck disable=SC2046
    "$new/bin/python" -I -m pip install --no-input --disable-pip-version-check $(pins "$1") >"$log" 2>&1 ||
        { tail -n 5 "$log" >&2; fail "pip could not install what setup.py pins; see the lines above"; }
    # The checkout, relative to site-packages, so that `python -I -m relayd` finds it, and still does when
    # moved.
    for site in "$new"/lib/python3*/site-packages; do echo ../../../.. >"$site/relayd.pth"; done
    # Scripts name their interpreter by its path.
    grep -rlIF .venv.new "$new/bin" "$new/pyvenv.cfg" | xargs -r -d '\n' sed -i 's/\.venv\.new/.venv/g'
    # Compiled now: root starting someone else's checkout writes nothing there. An error shows when it runs.
    "$new/bin/python" -I -m compileall -q "$top/relayd" >/dev/null 2>&1 || :
    rm "$log"
    # A power cut must not leave a stamp without the files it speaks for.
    sync -f "$new"
    version=$("$new/bin/python" --version)
    stamp relayd "$version" >"$new/.stamp"
    [ "$1" = relayd ] || stamp "$1" "$version" >>"$new/.stamp"
    rm -rf "$top/.venv.old"
    # Complete: what follows only puts it in its place, and must not be cut in two by a Ctrl-C.
    trap '' HUP INT TERM
    [ ! -e "$venv" ] || mv -T "$venv" "$top/.venv.old"
    mv -T "$new" "$venv"
    rm -rf "$top/.venv.old"
    say "setting up: done"
}

# build_as_owner NEED: what root made in the checkout, its owner could not replace.
build_as_owner() {
    owner=$(stat -c %u "$top")
    if [ "$(id -u)" -ne 0 ] || [ "$owner" -eq 0 ]; then build "$1"; return; fi
    home=$(getent passwd "$owner" | cut -d: -f6)
    HOME=${home:-/nonexistent} setpriv --reuid="$owner" --regid="$(stat -c %g "$top")" --clear-groups \
        sh -euc 'top=$1; . "$top/bin/setup.sh"; build "$2"' "$0" "$top" "$1"
}

# prepare NEED: return once .venv is ready. The lock is on the folder bin/ itself: no file to leave behind or
# to own. pip inherits it, so that it holds until the last writer is gone, even when the shell was killed.
prepare() {
    ready "$1" && return
    (
        flock -n 9 || { say "another set-up is running; waiting for it"; flock 9; }
        ready "$1" || build_as_owner "$1"
    ) 9<"$top/bin"
}
