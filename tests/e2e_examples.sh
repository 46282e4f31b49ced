#!/bin/bash
# Every recipe of examples/ does what its README says: the commands of the page's sh blocks are run in a copy of the folder, then the
# tables are compared with expected.txt.
. "${srcdir:-.}/tests/lib.sh"
need sqlite3 sqlite3
need jq jq
need bsdtar libarchive-tools
need python3 python3
PATH=$bin:$PATH
unset QETL_CONFIG QETL_DATABASE QETL_SPOOL QETL_LOG QETL_LOG_LEVEL PORT

commands() { awk '/^```/ { inside = $0 == "```sh"; next } inside' "$1"; } # PAGE: the lines of its sh blocks
recipe() { # NAME: run it; what it prints is in $out
    cp -R "$srcdir/examples/$1" "$work/$1" && chmod -R u+w "$work/$1" && cd "$work/$1" || bail "no copy of $1"
    commands README.md >"$work/commands"
    ok "$1: its page has commands" test -s "$work/commands"
    out=$(timeout 300 bash -e "$work/commands" 2>&1)
    rc=$?
    is "$1: they end well" "$rc" 0
    [ "$rc" = 0 ] || diag "$out"
    is "$1: the tables are as expected" "$(sqlite3 -readonly warehouse.db <expected.sql 2>&1)" "$(cat expected.txt)"
    is "$1: the page has 10 to 25 lines" "$(awk 'END { print (NR >= 10 && NR <= 25) }' README.md)" 1
    ok "$1: the list of recipes has it" grep -q "($1/README.md)" "$srcdir/examples/README.md"
}

for page in "$srcdir"/examples/*/README.md; do
    name=$(basename "$(dirname "$page")")
    recipe "$name"
    case $name in
    csv-zip-to-sqlite)
        like '... it counts the rejects' "$out" '10 rows read, 8 loaded, 2 rejected'
        like '... and shows them' "$out" ' 4 +not-decimal +amount +n/a +not a decimal number +orders-north.csv '
        ;;
    http-archives)
        is '... the server was busy once' "$(grep -c "transient *fetch-busy" <<<"$out")" 1
        is '... both days are loaded' "$(QETL_CONFIG=qetl.ini qetlctl --json jobs | jq -c '[.jobs[].state]')" '["loaded","loaded"]'
        ;;
    geocode)
        like '... each place was asked for once' "$out" 'after the first time .* 7 requests'
        like '... and not again' "$out" 'after the second time .* 7 requests'
        ok '... the key is nowhere' bash -c '! grep -l demo queue.db* warehouse.db'
        ;;
    queue-by-method)
        is '... status counts' "$(jq -c '.pipelines[0] | [.loaded, .dead]' status.json)" '[1000,1]'
        is '... errors names the one' "$(jq -c '[.errors[].code]' errors.json)" '["fetch-missing"]'
        ok '... workers are listed' jq -e '.workers | length > 0' workers.json
        ;;
    cron-and-drain) is '... the second run submits nothing' "$(grep -c '^job ' <<<"$out")" 2 ;;
    esac
    cd / || exit 99
done
done_testing
