#!/bin/bash
# Sources that make it hard: names of all bytes on each lister, a clock that is set back, sizes that are lies, files that grow while they are
# listed, a listing that fails in the middle, a server that is started again.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
export LC_ALL=C # names are bytes

drain() { timeout 120 qetl drain --scan --max-wait 60s 2>"$work/drain"; }
site() { # SOURCE REMOTE-LINES LINES-OF-THE-PIPELINE
    new_site <<INI
${2:+[remote r]}
$2
[pipeline p]
source  = $1
every   = 1h
settle  = 0
columns = id:integer!
table   = warehouse.p
${3-}
INI
}
put() { printf 'id\n%s\n' "$2" >"$1"; }
try_service http && has_http=yes || has_http=no
http_why=${why-}

# ---- names with spaces, quotes, percent signs, newlines, and bytes that are no UTF-8 ----

names=("a b.csv" "'c'.csv" '"d".csv' '100%41%.csv' $'caf\303\251.csv' $'latin\351\377.csv' $'new\nline.csv' $'tab\there.csv' '#e?f&g=h;i.csv' '[j]{k}.csv' '+l,m@n.csv')
fill() { # FOLDER [NAMES THAT ARE LEFT OUT, as a pattern]
    local i=0 n
    mkdir -p "$1"
    chmod 755 "$1"
    for n in "${names[@]}"; do
        i=$((i + 1))
        # shellcheck disable=SC2254
        case $n in ${2-}) ;; *) put "$1/$n" $i ;; esac
    done
}
loads() { # NAME: what fill() wrote, less N of them
    drain
    is "$1: files of all names are loaded, once each" "$(sql 'SELECT count(*), count(DISTINCT id) FROM p')" "$((${#names[@]} - $2))|$((${#names[@]} - $2))"
    drain
    is "$1: and none again" "$(queue_sql 'SELECT count(*) FROM job')" $((${#names[@]} - $2))
}
fill "$work/in"
site "$work/in/*.csv" '' 'ignore ='
loads 'a local folder' 0
if [ $has_http = yes ]; then
    fill "$WWW/in"
    site "$HTTP/index/in/*.csv" '' 'ignore ='
    loads 'a page of HTML' 0
    site "$HTTP/json/in/*.csv" '' 'ignore ='
    loads 'a page of JSON' 1 # which cannot say all of them
    like 'a page of JSON: it says what was left out' "$(qetlctl status)" 'names? w[a-z]+ left out: .*not UTF-8'
    find "$WWW/in" -name '*.csv' ! -name $'*\n*' -printf '/files/in/%f\n' >"$WWW/in/list" # a line is a name
    site "manifest+$HTTP/files/in/list" ''
    loads 'a manifest' 1
else
    skip "$http_why" 7
fi
if try_service ftp; then
    fill "$FTPROOT/in" $'*[\351]*' # pyftpdlib shows text alone; control characters cannot be told an FTP server: they are left out
    site "$FTP/in/*.csv" "url = $FTP
user = user
password = password" 'ignore ='
    loads FTP 3
    like 'FTP: it says that some were left out' "$(qetlctl status)" 'names? w[a-z]+ left out'
else
    skip "$why" 3
fi
if try_service ftps; then
    fill "$FTPSROOT/in"
    site "$FTPS/in/*.csv" "url = $FTPS
ca_file = $FTPSCA" 'ignore ='
    loads FTPS 2
else
    skip "$why" 2
fi
if try_service sftp; then
    fill "$SFTPROOT/in"
    site "$SFTP$SFTPROOT/in/*.csv" "url = $SFTP
user = $SFTPUSER
private_key = $SFTPKEY
known_hosts = $KNOWN_HOSTS" 'ignore ='
    loads SFTP 0
else
    skip "$why" 2
fi

# ---- the clock is set back a day ----

site 'in/*.csv' ''
sed -i 's/^settle .*/settle = 1s/' "$site/qetl.ini"
mkdir "$site/in"
put "$site/in/1.csv" 1
touch -d '2 days' "$site/in/1.csv" # and so is the one of who wrote it
export QETL_CLOCK_OFFSET_MS=86400000
start_role all
ok 'with a clock that is ahead a file is loaded' wait_for 60 rows_are 'SELECT id FROM p' 1
stop_roles
unset QETL_CLOCK_OFFSET_MS
put "$site/in/2.csv" 2
start_role all
ok 'when it is set back what comes is loaded, and nobody waits for that day' wait_for 90 rows_are 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)' 1,2
is 'and nothing again' "$(queue_sql 'SELECT count(*) FROM job')" 2
stop_roles

# ---- a source that lies about size ----

site "manifest+file://$work/lies.json" '' 'group_bytes = 1M
group_wait = 0'
put "$work/1.csv" 1
seq 100000 | sed '1i id' >"$work/2.csv"
printf '[{"path": "%s", "size": 1000000000000}, {"path": "%s", "size": 1}]' "$work/1.csv" "$work/2.csv" >"$work/lies.json"
drain
is 'nothing is loaded that is not what was listed' "$(sql 'SELECT count(*) FROM p' 2>/dev/null || echo 0)" 0
is 'each such job waits, and no try is counted' "$(queue_sql "SELECT count(*) FROM job WHERE state = 'ready' AND due = 0 AND attempts = 0")" 2
like 'what was said and what is there are told' "$(qetlctl errors)" 'it was to have 1000000000000 bytes, and has 5'
like 'for each' "$(qetlctl errors)" "it was to have 1 bytes, and has $(stat -c %s "$work/2.csv")"
printf '["%s", {"path": "%s", "size": %d}]' "$work/1.csv" "$work/2.csv" "$(stat -c %s "$work/2.csv")" >"$work/lies.json"
drain
is 'when it is put right they are loaded' "$(sql 'SELECT count(*), max(id) FROM p')" '100001|100000'

# ---- files that grow while they are listed ----

site 'in/*.txt' '' 'whole = trailer
closing_line = T*'
sed -i 's/^every .*/every = 1s/' "$site/qetl.ini"
mkdir "$site/in"
start_role all
for i in $(seq 20); do echo id >"$site/in/$i.txt"; done
for n in $(seq 40); do
    for i in $(seq 20); do echo $((i * 1000 + n)) >>"$site/in/$i.txt"; done
    [ $((n % 10)) != 0 ] || qetlctl scan p >"$work/out" 2>&1
done
for i in $(seq 20); do echo T >>"$site/in/$i.txt"; done
ok 'files that grow while they are listed are loaded whole' wait_for 90 rows_are 'SELECT count(*), count(DISTINCT id) FROM p' '800|800'
is 'by one job each' "$(queue_sql 'SELECT count(*), min(state) FROM job')" '20|loaded'
stop_roles

# ---- a place that is not there, again and again ----

site "in/*.csv" ''
sed -i 's/^every .*/every = 1s/' "$site/qetl.ini"
start_role scanner
often() { queue_is "SELECT failures > $1 FROM scan" 1; }
ok 'a place that is not there is looked for again and again' wait_for 60 often 3
is 'the log says so once' "$(grep -c 'a scan failed' "$site/scanner.log")" 1
mkdir "$site/in.new" && touch "$site/x" && mv "$site/x" "$site/in"
ok 'when it fails in another way' wait_for 60 grep -q 'a scan failed.*Not a directory' "$site/scanner.log"
ok 'it is told again' test "$(grep -c 'a scan failed' "$site/scanner.log")" = 2
since=$(queue_sql 'SELECT failed_since FROM scan')
often_again() { queue_is "SELECT failures > 6 AND failed_since = $since AND failed_since < started FROM scan" 1; }
ok 'the count goes on, and since when' wait_for 60 often_again
like 'status tells both' "$(qetlctl status)" " [0-9]+ times since 20[0-9-]+ [0-9:]+Z, tried again after (1s|[0-9]{3}ms): "
is 'as it does programs' "$(qetlctl --json status | jq '.scans[0] | .failures > 6 and .failed_since < .started')" true
rm "$site/in" && mv "$site/in.new" "$site/in"
ok 'when it goes well again that is told' wait_for 60 grep -q 'a scan that failed is well again pipeline=p failures=' "$site/scanner.log"
is 'and there are no failures any more' "$(qetlctl --json status | jq -c '.scans[0] | [.failures, .failed_since, .code]')" '[0,null,null]'
stop_roles

# ---- a listing that fails in the middle, and a server that is started again ----

if [ $has_http = yes ]; then
    mkdir -p "$WWW/half"
    for i in 1 2 3 4; do put "$WWW/half/$i.csv" $i; done
    page=$(for i in 1 2 3 4; do printf '<a href="%s.csv">%s.csv</a> 01-Jan-2026 00:00 5\n' $i $i; done)
    printf '<html><pre>%s' "${page%\">3.csv*}" >"$WWW/half/index.html"
    site "$HTTP/files/half/*.csv" ''
    qetlctl scan p >"$work/out" 2>&1
    is 'a page that ends in the middle is a failed listing' $? 1
    like 'and says so' "$(qetlctl status)" 'truncated'
    ok 'what it had before counts' queue_is 'SELECT count(*) BETWEEN 1 AND 2 FROM job' 1
    printf '<html><pre>%s</pre></html>' "$page" >"$WWW/half/index.html"
    start_role all
    ok 'the next one finds the rest, and all is loaded once' wait_for 60 rows_are 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)' 1,2,3,4
    stop_service http
    qetlctl scan p >"$work/out" 2>&1
    is 'a scan of a server that is away fails' $? 1
    start_service http
    ok 'when it is back it is scanned again by itself' wait_for 60 queue_is 'SELECT failures, listed FROM scan' '0|4'
    is 'and nothing is loaded again' "$(sql 'SELECT count(*) FROM p')" 4
    stop_roles
else
    skip "$http_why" 7
fi
done_testing
