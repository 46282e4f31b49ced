# shellcheck shell=bash
# lib.sh: sourced by the shell tests (bash). Prints TAP; each test runs in a fresh folder, $work, that is removed at the end.
#
#   . "${srcdir:-.}/tests/lib.sh"
#   plan 3                               # or `done_testing` at the end
#   start_service http                   # sets HTTP, WWW, ...; ended with the test; skips all when a package is missing
#   ok "a file is fetched" cmp a b       # any command
#   is "it has 3 rows" "$rows" 3
#   like "the message names the line" "$message" 'line 17'      # extended regular expression
#   skip "reason" N                      # N tests of the plan are not run, said aloud
#   need sqlite3 sqlite3                 # skips the whole test when the command is missing: command, package
#
# srcdir is the source tree, builddir the build tree (set by make check; default: the current folder). Programs by their names: see $bin.
set -u
srcdir=$(cd "${srcdir:-.}" && pwd)
builddir=$(cd "${builddir:-.}" && pwd)
bin=$builddir
tests_run=0 tests_planned=0 tests_failed=0
services=''
work=$(mktemp -d "${TMPDIR:-/tmp}/qetl-test-XXXXXX") || exit 99
chmod 711 "$work"     # servers that refuse root run as nobody
unset http_proxy https_proxy ftp_proxy all_proxy HTTPS_PROXY FTP_PROXY ALL_PROXY no_proxy NO_PROXY

cleanup() {
    local s
    for s in $services; do "$srcdir/tests/services/$s" stop "$work/$s" >/dev/null 2>&1; done
    case ${KEEP:-} in '') rm -rf "$work" ;; *) echo "# kept: $work" ;; esac
}
trap cleanup EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

plan() { tests_planned=$1 && echo "1..$1"; }
diag() { printf '%s\n' "$*" | sed 's/^/# /'; }
skip_all() { echo "1..0 # SKIP $*"; exit 0; }
bail() { echo "Bail out! $*"; exit 99; }

result() { # STATUS NAME
    tests_run=$((tests_run + 1))
    if [ "$1" = 0 ]; then echo "ok $tests_run - $2"; else echo "not ok $tests_run - $2"; tests_failed=$((tests_failed + 1)); fi
    return "$1"
}
ok() { # NAME COMMAND...
    local name=$1 out rc
    shift
    out=$("$@" 2>&1) && rc=0 || rc=$?
    result "$rc" "$name" || { diag "$* (status $rc)"; [ -z "$out" ] || diag "$out"; }
}
is() { # NAME GOT WANTED
    [ "$2" = "$3" ] && result 0 "$1" && return
    result 1 "$1" || true
    diag "got    '$2'"
    diag "wanted '$3'"
}
like() { # NAME TEXT REGEX
    printf '%s\n' "$2" | grep -Eq -- "$3" && result 0 "$1" && return
    result 1 "$1" || true
    diag "got    '$2'"
    diag "wanted what matches /$3/"
}
unlike() { # NAME TEXT REGEX
    printf '%s\n' "$2" | grep -Eq -- "$3" || { result 0 "$1"; return; }
    result 1 "$1" || true
    diag "got    '$2'"
    diag "wanted nothing that matches /$3/"
}
skip() { # REASON COUNT
    local i
    for i in $(seq "${2:-1}"); do
        tests_run=$((tests_run + 1))
        echo "ok $tests_run # SKIP $1"
    done
}
need() { command -v "$1" >/dev/null 2>&1 || skip_all "$1 is missing (apt-get install $2)"; }
done_testing() { [ "$tests_planned" -gt 0 ] || echo "1..$tests_run"; }

# Start tests/services/NAME in $work/NAME and set its variables. 77: a package is missing; then the whole test is skipped, or
# with try_service only false is given, and $why says why.
try_service() {
    local facts
    facts=$("$srcdir/tests/services/$1" start "$work/$1" 2>"$work/why") || {
        [ $? = 77 ] || { diag "$(cat "$work/why")"; bail "the service $1 does not start"; }
        why=$(cat "$work/why")
        return 1
    }
    services="$1 $services"
    while IFS='=' read -r key value; do printf -v "$key" '%s' "$value"; done <<<"$facts"
}
start_service() { try_service "$1" || skip_all "$why"; }
stop_service() {
    "$srcdir/tests/services/$1" stop "$work/$1"
    services=$(printf '%s ' $services | sed "s/\b$1 //")
}

# Is this program built with ASan? Then its memory is no measure.
sanitized() { grep -qa __asan_init "$1"; }

# Wait until a command succeeds, at most SECONDS: wait_for SECONDS COMMAND...
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}
