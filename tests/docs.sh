#!/bin/sh
# The manual page of the ini and the page of errors are what their tables make of them; the ini that is installed works; the unit is hardened.
cd "$srcdir" || exit 99
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
n=0
result() { # 0 or 1, what was promised
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}
echo 1..9

"$builddir/qetl" --print-keys >"$tmp/keys"
awk -v keys="$tmp/keys" -f build-aux/gen-docs.awk doc/qetl.ini.5.in >"$tmp/page"
diff "$tmp/page" doc/qetl.ini.5 >&2
result $? "doc/qetl.ini.5 is made from the table of keys (else: make update-docs)"

"$builddir/qetl" --print-errors >"$tmp/errors"
awk -v errors="$tmp/errors" -f build-aux/gen-errors.awk doc/errors.md.in >"$tmp/page"
diff "$tmp/page" doc/errors.md >&2
result $? "doc/errors.md is made from the tables of codes and reasons (else: make update-docs)"

missing=0
for key in $(awk '$1 == "key" { print $3 }' "$tmp/keys"); do
    grep -qx "\.It Ic $key" doc/qetl.ini.5 || { echo "# $key is not in the page"; missing=1; }
done
result $missing "every key is in the page"

if command -v mandoc >/dev/null; then
    mandoc -T lint -W error doc/qetl.1 doc/qetlctl.1 doc/qetl.ini.5 >&2
    result $? "the manual pages are free of errors"
else
    n=$((n + 1)); echo "ok $n - the manual pages are free of errors # SKIP mandoc is not installed"
fi

QETL_DATABASE=$tmp/queue.db QETL_SPOOL=$tmp/spool "$builddir/qetlctl" -c etc/qetl.ini check >&2
result $? "the ini that is installed is free of faults"

if command -v systemd-analyze >/dev/null; then
    bad=0
    cp "$builddir/systemd/qetl@.service" "$tmp/qetl@worker.service"
    { cat "$tmp/qetl@worker.service"; cat 'systemd/loader-without-network.conf'; } >"$tmp/qetl@loader.service"
    systemd-analyze security --offline=true --threshold=12 "$tmp/qetl@worker.service" >"$tmp/worker" 2>&1 || bad=1
    systemd-analyze security --offline=true --threshold=4 "$tmp/qetl@loader.service" >"$tmp/loader" 2>&1 || bad=1
    tail -n 1 "$tmp/worker" "$tmp/loader" >&2
    result $bad "exposure by systemd-analyze security: a worker at most 1.2, a loader without network 0.4"
else
    n=$((n + 1)); echo "ok $n - exposure by systemd-analyze security # SKIP systemd is not installed"
fi

# ---- the manual pages of the programs are whole ----
missing=0
for page in doc/qetl.1 doc/qetlctl.1; do
    for section in SYNOPSIS OPTIONS ENVIRONMENT FILES 'EXIT STATUS' EXAMPLES; do
        grep -qx "\.Sh $section" $page || { echo "# $page has no $section" >&2; missing=1; }
    done
done
result $missing "both manual pages have their options, environment, files, exit status, examples"

missing=0
{ "$builddir/qetl" --help; echo; } >"$tmp/qetl.1"
{ "$builddir/qetlctl" --help; for verb in $("$builddir/qetlctl" --help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p'); do "$builddir/qetlctl" help "$verb"; done; } |
    sed 's/qetl --print-errors//' >"$tmp/qetlctl.1"
for page in qetl.1 qetlctl.1; do
    for option in $(grep -Eo -e '--[a-z][a-z_-]+' "$tmp/$page" | sort -u); do
        # qetlctl infer: --KEY, and the keys in a list
        grep -Eq -e "Fl -?(.* , |.* \| )?-${option#--}\b" doc/$page || grep -Eq "(^| )${option#--}(,|\.)" doc/$page ||
            { echo "# $page has no $option" >&2; missing=1; }
    done
done
result $missing "they have every option that --help shows"

missing=0
tested='QETL_CLOCK_OFFSET_MS QETL_FAULT QETL_TEST_FS' # for tests alone
for name in $(grep -rhoE 'getenv\("[A-Z_]+"' src | sed 's/.*"\(.*\)"/\1/' | sort -u) \
    $(awk '$1 == "key" && $2 == "qetl" { print "QETL_" toupper($3) }' "$tmp/keys"); do
    case " $tested " in *" $name "*) continue ;; esac
    grep -Eq "^\.It Ev (.* , )?$name( ,|\$)" doc/qetl.1 || { echo "# qetl.1 has no $name" >&2; missing=1; }
done
result $missing "qetl(1) has every variable of the environment that is read"
