#!/bin/bash
# Bad input: one clear message with the place and what to do, the right exit status, and nothing half done.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need bsdtar libarchive-tools
start_service http

new_site <<INI
[limits]
ratio = 50
[pipeline orders]
columns = id:integer!, amount:decimal(2)
table   = warehouse.orders
attempts = 1
[pipeline tls]
columns = id:integer!
table   = warehouse.orders
attempts = 1
INI
qetlctl init >/dev/null
printf 'id,amount\n1,2\n' >"$work/good.csv"

# fails NAME CODE REGEX URI: the job dies with that error code and words, and leaves nothing
fails() {
    local out rc
    out=$(qetlctl run orders "$4" 2>&1)
    rc=$?
    is "$1: exit 1" $rc 1
    like "$1: says what and where" "$out" "$3"
    like "$1: code $2, and a hint" "$out" "\[$2\]"
    is "$1: no row, nothing staged" "$(sql "SELECT count(*) FROM sqlite_schema WHERE name = 'orders'") $(find "$site/spool" -type f | wc -l)" '0 0'
}
fails 'no such file on the server' fetch-missing '/files/none.csv.*404' "$HTTP/files/none.csv"
fails 'a certificate nobody signed' tls 'https://localhost.*certificate' "${HTTPS}/files/x"
fails 'no server' fetch '127.0.0.1' http://127.0.0.1:1/x.csv
fails 'no such path' fetch-missing '/nowhere.csv' "$work/nowhere.csv"
mkdir "$work/folder"
fails 'a folder where a file should be' not-a-file "'[^']*/folder' is a folder" "$work/folder"
like '... and what to do' "$(qetlctl run orders "$work/folder" 2>&1)" 'hint: .* by a glob in source= .* with every='
printf 'i\0d\0\n\0001\0\n\0' >"$work/utf16.csv"
fails 'UTF-16 that nobody told of' format 'byte 1 is a NUL, .*encoding' "$work/utf16.csv"
printf 'id,amount\n1,2\n2,\0\n3,4\n' >"$work/nul.csv"
fails 'a NUL byte in a row near the start' rejects 'line 3' "$work/nul.csv"
like '... and what show does not know of it is not to come' "$(qetlctl show "$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')")" 'objects are noted when a job is staged'
"$srcdir/tests/rows.sh" 50000 | gzip >"$work/cut.csv.gz"
truncate -s 100000 "$work/cut.csv.gz"
fails 'a gz that ends too early' truncated 'cut.csv.gz' "$work/cut.csv.gz"
cp "$work/cut.csv.gz" "$WWW/cut.csv.gz"
fails '... also over HTTP' truncated 'cut.csv.gz' "$HTTP/files/cut.csv.gz"
{ echo id,amount; head -c 30000000 /dev/zero | tr '\0' '1'; } | gzip -9 >"$work/bomb.csv.gz"
fails 'a bomb' limit 'ratio' "$work/bomb.csv.gz"
: >"$work/empty.csv"
fails 'an empty file' empty 'empty.csv' "$work/empty.csv"
printf 'id,amount\n' >"$work/header.csv"
fails 'only a header' empty 'header.csv' "$work/header.csv"
printf 'id,price\n1,2\n' >"$work/lacks.csv"
fails 'a header that lacks a column' header "amount.*price|price.*amount" "$work/lacks.csv"
printf 'id,amount\n1,2\n2\n' >"$work/ragged.csv"
fails 'a short row' rejects 'line 3' "$work/ragged.csv"
printf 'id,amount\n1,2\n"2,3\n4,5\n' >"$work/quote.csv"
fails 'a quote that is never closed' rejects 'line 3' "$work/quote.csv"
printf 'id,amount\n1,2\n2,\xff\n' >"$work/utf8.csv"
fails 'not UTF-8' rejects 'line 3.*encoding = latin1' "$work/utf8.csv"
control() { tr -d '\n\040-\377' | od -An -c; } # what a terminal would obey
printf 'id,amount\n\033]0;a\007\033[2J,2\n' >"$work/escape.csv"
fails 'escapes for a terminal' rejects 'line 2' "$work/escape.csv"
last=$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')
is '... come to no terminal' "$({ qetlctl run orders "$work/escape.csv"; for verb in jobs errors "show $last" "rejects $last" 'rejects list'; do qetlctl $verb; done; } 2>&1 | control)" ''
"$srcdir/tests/rows.sh" 5000 >"$work/long.csv"
bsdtar -C "$work" -a -cf "$work/damaged.zip" long.csv
printf 'XXXXXXXX' | dd of="$work/damaged.zip" bs=1 seek=5000 conv=notrunc 2>/dev/null
fails 'a damaged zip' archive 'damaged.zip' "$work/damaged.zip"

# ---- the ini ----
ini_fault() { # NAME REGEX, the ini on standard input
    local file=$work/bad.ini out rc
    cat >"$file"
    out=$(qetlctl -c "$file" check 2>&1)
    rc=$?
    is "ini, $1: exit 3" $rc 3
    like "ini, $1: file, line, key, what was expected" "$out" "$2"
    is "ini, $1: qetl does not start" "$(qetl -c "$file" worker >/dev/null 2>&1; echo $?)" 3
}
ini_fault 'an unknown key' 'bad.ini:2: .*databse.*database' <<<$'[qetl]\ndatabse = x'
ini_fault 'an unknown section' 'bad.ini:1: .*pipelin' <<<$'[pipelin x]\na = b'
ini_fault 'a missing target' 'bad.ini:[0-9]+: .*nowhere' <<<$'[pipeline x]\ncolumns = a:text\ntable = nowhere.t'
ini_fault 'a bad value' 'bad.ini:2: .*slots' <<<$'[worker]\nslots = many'

ini_fault 'a SQLite url with a host' 'bad.ini:2: .*sqlite:///absolute/path, or sqlite:relative/path from the folder' <<<$'[target w]\nurl = sqlite://./w.db'

# ---- check: what is right and cannot be reached ----
cat >"$work/away.ini" <<INI
[qetl]
database = $work/no/folder/queue.db
spool = $work/good.csv
[target warehouse]
url = sqlite:away.db
[target lost]
url = sqlite://$work/lost/w.db
[lookup codes]
file = codes.csv
columns = a
[lookup folder]
file = $work
columns = a
[lookup good]
file = $work/good.csv
columns = a
INI
qetlctl -c "$work/away.ini" check >"$work/out" 2>"$work/err"
is 'check warns of what cannot be reached, and the ini is good: exit 0' "$? $(grep -c . "$work/err")" '0 5'
like '... a folder of the database that is not there' "$(cat "$work/err")" "warning: \\[qetl\\] database: there is no folder for '$work/no/folder/queue.db' yet in '$work'"
is '... a target' "$(grep -c "warning: target 'lost': there is no folder '$work/lost'" "$work/err")" 1
is '... files of look-ups' "$(grep -cE "warning: \\[lookup (codes\\] file: '$work/codes.csv' cannot be read: No such file|folder\\] file: '$work' is no file)" "$work/err")" 2
is '... for programs, too' "$(qetlctl -c "$work/away.ini" --json check | jq -c '[.ok, (.faults | length), (.warnings | length)]')" '[true,0,5]'
is '... and it makes nothing' "$(ls -d "$work/no" "$work/away.db"* 2>/dev/null)" ''

# ---- database and spool ----
code() { "$@" >"$work/out" 2>&1; echo $?; }
is 'no database yet: exit 4' "$(QETL_DATABASE=$work/none.db code qetlctl status)" 4
like '... says to run init' "$(cat "$work/out")" 'qetlctl init'
is '... submit makes it' "$(QETL_DATABASE=$work/made/queue.db code qetlctl submit orders "$work/good.csv") $(QETL_DATABASE=$work/made/queue.db qetlctl --json jobs | jq -c '[.jobs[].state]')" '0 ["ready"]'
cp "$site/queue.db" "$work/newer.db"
sqlite3 "$work/newer.db" 'PRAGMA journal_mode = DELETE; PRAGMA user_version = 9999' >/dev/null
is 'a database of a newer version: exit 4' "$(QETL_DATABASE=$work/newer.db code qetlctl status)" 4
like '... says which' "$(cat "$work/out")" '9999'
is 'a database on a network file system: exit 4' "$(QETL_TEST_FS=nfs code qetlctl status)" 4
like '... names it' "$(cat "$work/out")" 'nfs'
printf 'this is no database, whatever its name says' >"$work/text.db"
is 'a text where the database should be: exit 4' "$(QETL_DATABASE=$work/text.db code qetlctl status)" 4
: >"$work/plain"
is 'a file where the spool should be: exit 4' "$(QETL_SPOOL=$work/plain code qetl drain)" 4
like '... names it' "$(cat "$work/out")" "$work/plain"
for verb in init status 'submit orders x.csv'; do
    # shellcheck disable=SC2086
    is "a file where the database's folder should be: $verb, exit 4" "$(QETL_DATABASE=$work/plain/q.db code qetlctl $verb)" 4
done

if [ "$(id -u)" = 0 ]; then
    mkdir "$work/small"
    if mount -t tmpfs -o size=300k tmpfs "$work/small" 2>/dev/null; then
        "$srcdir/tests/rows.sh" 20000 >"$work/many.csv"
        mkdir "$work/small/spool"
        out=$(QETL_SPOOL=$work/small/spool qetlctl run orders "$work/many.csv" 2>&1)
        is 'a full disk under the spool: exit 1' $? 1
        like '... says so' "$out" 'disk-full'
        is '... and loads nothing' "$(sql "SELECT count(*) FROM sqlite_schema WHERE name = 'orders'")" 0
        mount -o remount,ro "$work/small"
        is 'a read-only spool: exit 4' "$(QETL_SPOOL=$work/small/spool code qetl drain)" 4
        like '... says so' "$(cat "$work/out")" '[Rr]ead-only'
        is 'no database where none can be made: exit 4' "$(QETL_DATABASE=$work/small/sub/q.db code qetlctl status)" 4
        like '... says why' "$(cat "$work/out")" "cannot make it: '$work/small': Read-only"
        unlike '... and not to make it' "$(cat "$work/out")" 'qetlctl init'
        is '... init: exit 4' "$(QETL_DATABASE=$work/small/sub/q.db code qetlctl init)" 4
        umount "$work/small"
        mount -t tmpfs -o size=2m tmpfs "$work/small"
        export QETL_DATABASE=$work/small/queue.db
        qetlctl init >/dev/null
        truncate -s 0 "$QETL_DATABASE-bell" && truncate -s 4096 "$QETL_DATABASE-bell" # a copy that keeps holes
        head -c 2m /dev/zero >"$work/small/filler" 2>/dev/null
        for verb in submit run; do
            is "a full disk under the queue: $verb, exit 4" "$(code qetlctl "$verb" orders "$work/many.csv")" 4
            like '... says so' "$(cat "$work/out")" 'disk-full'
        done
        rm "$work/small/filler"
        is '... with room again a job is taken' "$(code qetlctl submit orders "$work/many.csv")" 0
        unset QETL_DATABASE
        umount "$work/small"
    else
        skip 'no tmpfs can be mounted here' 14
    fi
else
    skip 'a full disk needs root for a tmpfs' 14
fi

# ---- two loaders: each row once ----
new_site <<INI
[pipeline orders]
columns = id:integer!, amount:decimal(2)
table   = warehouse.orders
INI
qetlctl init >/dev/null
for i in $(seq 40); do echo '{"pipeline":"orders","objects":["'"$work"'/good.csv"]}'; done | qetlctl submit - >/dev/null
start_role worker
start_role loader-1
start_role loader-2
ok 'two loaders share the work' wait_for 30 bash -c "qetlctl --json status | jq -e '.pipelines[] | select(.pipeline == \"orders\") | .loaded == 40'"
is '... and load each job once' "$(sql 'SELECT count(*) FROM orders') $(sql 'SELECT count(*) FROM qetl_load')" '40 40'
stop_roles
done_testing
