#!/bin/bash
# The README's claims stay true: its ini and its commands are taken from the page and run; only the host and the warehouse's path are
# put to places of this test.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need bsdtar libarchive-tools
start_service http
readme=$srcdir/README.md

# block WORD: the first fenced block of the page that holds the word, without its fences
block() { awk -v word="$1" '/^```/ { if (inside) { if (index(text, word)) { printf "%s", text; exit } } inside = !inside; text = ""; next }
    inside { text = text $0 "\n" }' "$readme"; }
ini=$(block '[pipeline orders]')
like 'the page has an ini' "$ini" 'columns = id:integer'
new_site <<INI
$(sed -e '/^\[target warehouse\]$/,/^$/d' -e "s|https://files.example.org/|$HTTP/files/|" <<<"$ini")
INI
for day in 2026-11-20 2026-11-21; do
    printf 'id,placed,customer,amount\n%s,2026-11-20T10:00:00Z,Ann,1.50\n' "${day##*-}" >"$work/o.csv"
    bsdtar -C "$work" -a -cf "$WWW/orders-$day.zip" o.csv
done

mapfile -t commands < <(block 'qetlctl check' | sed 's/ *#.*//')
is 'the page has a tour of six commands' "${#commands[@]}" 6
for command in "${commands[@]}"; do
    case $command in
    'qetl all')
        start_role all
        ok "$command" wait_for 60 bash -c '[ "$(qetlctl --json jobs | jq -r ".jobs[0].state")" = loaded ]'
        ;;
    *) ok "$command" bash -c "$command" ;;
    esac
done
stop_roles
is 'both days are in the table, once' "$(sql 'SELECT id, customer, amount FROM orders ORDER BY id')" '20|Ann|1.5
21|Ann|1.5'
message=$(sed -n 's/^`\({"method": "orders".*}\)`\.$/\1/p' "$readme")
like 'the page has a message' "$message" '"day"'
like '... that submit takes as it stands' "$(qetlctl submit - <<<"$message")" '^1 job submitted'
like 'infer prints a section' "$(qetlctl infer "$work/o.csv")" '^\[pipeline o\]'
for verb in $(block 'qetlctl check' | sed -n 's/^qetlctl status *# *//p' | grep -o '[a-z]*' | sort -u); do
    ok "the verb $verb is there" qetlctl help "$verb"
done

for file in quickstart runtests; do ok "./$file can be run" test -x "$srcdir/$file"; done
for page in $(grep -o '(doc/[a-z.]*)' "$readme" | tr -d '()'); do ok "$page is there" test -s "$srcdir/$page"; done
# what configure asks pkg-config for, quickstart installs
for pair in sqlite3:libsqlite3-dev libcurl:libcurl4-openssl-dev libarchive:libarchive-dev zlib:zlib1g-dev inih:libinih-dev \
    libseccomp:libseccomp-dev libisal:libisal-dev libcrypto:libssl-dev; do
    ok "quickstart installs ${pair#*:}" grep -q "${pair#*:}" "$srcdir/quickstart"
    ok "... because configure asks for ${pair%:*}" grep -q "\[${pair%:*} *[]>]" "$srcdir/configure.ac"
done
done_testing
