#!/bin/bash
# The README's claims stay true: the commands of its tour are taken from the page and run as they stand, in a home of this test; so is
# what quickstart advises at its end.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need bsdtar libarchive-tools
readme=$srcdir/README.md
export HOME=$work/home
mkdir "$HOME"
cd "$work" || exit 99

# ---- the tour: each block of its section, in one shell ----
mapfile -d '' -t blocks < <(awk '/^## /{ tour = /^## A tour$/ } tour && /^```/ { if (inside) printf "%c", 0; inside = !inside; next }
    inside { print }' "$readme")
is 'the tour has four blocks' "${#blocks[@]}" 4
tour=$work/tour.sh
{
    echo 'set -e'
    for i in "${!blocks[@]}"; do printf 'exec >"%s/said.%s" 2>&1\n%s\n' "$work" "$i" "${blocks[i]}"; done
    echo 'wait || :'
} >"$tour"
ok 'the tour can be followed' bash "$tour"
said() { cat "$work/said.$1"; }
site=$HOME/shop
export QETL_CONFIG=$site/qetl.ini
ok '... its files lie in the folder of the user' test -s "$site/queue.db" -a -s "$site/shop.db"
like '... infer prints a section' "$(said 2)" '^\[pipeline orders_2026_11_20\]$'
like '... run says what came of it' "$(said 2)" '^job 1 loaded: 3 rows read, 3 loaded, 0 rejected$'
like '... so does submit' "$(said 3)" '^job 2 loaded: 3 rows read, 2 loaded, 1 rejected$'
like '... show counts what changed' "$(said 3)" 'inserted 1, updated 1,'
like '... rejects shows the faulty row' "$(said 3)" ' 4 +not-integer +id +five '
is '... each row is there once, as it was last' "$(sqlite3 -readonly "$site/shop.db" 'SELECT id, customer, amount, note FROM orders ORDER BY id')" \
    '1|Ann|19.9|
2|Bob|10|four, please
3|Eve|7.25|
4|Dan|3.5|'
message=$(sed -n 's/^`\({"method": "orders".*}\)`\..*$/\1/p' "$readme")
like 'the page has a message' "$message" '"day"'
like '... that submit takes as it stands' "$(qetlctl submit - <<<"$message")" '^1 job submitted'
for verb in $(grep -o 'qetlctl [a-z]*' "$readme" | sed 's/.* //' | sort -u); do
    ok "the verb $verb is there" qetlctl help "$verb"
done

# ---- quickstart: what it says when nobody watches ----
is 'quickstart has no colour and no ticker for a pipe' "$(sh -c "$(sed -n '/^bold=/,/^say()/p' "$srcdir/quickstart")"' && say word && printf "%s" "$tick"' | od -c)" \
    "$(printf '\n== word\n' | od -c)"

# ---- quickstart: its last words, when its web server is gone; its ini and its lines as they stand ----
demo=$work/demo
export demo build="$builddir" top="$srcdir" port=1
mkdir -p "$demo/www"
document() { # WORD: the text of the first here-document that ends in WORD, its variables put in
    local text
    text=$(awk -v word="$1" '$0 == word { exit } inside { print } $0 ~ "<<" word "$" { inside = 1 }' "$srcdir/quickstart")
    eval "cat <<$1
$text
$1"
}
document INI >"$demo/qetl.ini"
printf 'path,kind,bytes,mode,owner,modified\n/usr,d,1,755,root,2026-11-20T10:00:00\n' >"$demo/files.csv"
printf 'name,version,section,installed_kib,maintainer,summary\nqetl,1,misc,9,Ann,a\n' >"$demo/packages.csv"
bsdtar -C "$demo" -a -cf "$demo/www/machine.zip" packages.csv files.csv
ok 'its ini is good' qetlctl -c "$demo/qetl.ini" check
ok 'it has run its job' bash -ec 'qetlctl -c "$1/qetl.ini" run machine "$1/www/machine.zip"' run "$demo"
document NEXT | grep -E '^  (export|qetlctl) ' >"$work/next"
like 'it says how to run its job again' "$(cat "$work/next")" '^  qetlctl run machine'
ok 'all that it advises can be done as it stands, now and again' bash -ec "$(cat "$work/next" "$work/next")"
is '... and nothing is there twice' "$(sqlite3 -readonly "$demo/warehouse.db" 'SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM packages)')" '1|1'

for file in quickstart runtests; do ok "./$file can be run" test -x "$srcdir/$file"; done
for page in $(grep -o '(doc/[a-z.]*)' "$readme" | tr -d '()'); do ok "$page is there" test -s "$srcdir/$page"; done
# what configure asks pkg-config for, quickstart installs
for pair in sqlite3:libsqlite3-dev libcurl:libcurl4-openssl-dev libarchive:libarchive-dev zlib:zlib1g-dev inih:libinih-dev \
    libseccomp:libseccomp-dev libisal:libisal-dev libcrypto:libssl-dev; do
    ok "quickstart installs ${pair#*:}" grep -q "${pair#*:}" "$srcdir/quickstart"
    ok "... because configure asks for ${pair%:*}" grep -q "\[${pair%:*} *[]>]" "$srcdir/configure.ac"
done
done_testing
