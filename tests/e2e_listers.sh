#!/bin/bash
# Sources that are scanned over the network: S3, the pages of a web server, manifests; from the listing to the rows, once each.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need curl curl
start_service http
has_s3=yes
try_service s3 || has_s3=no

scan() { qetlctl --json scan "$@" | jq -r '.scans[0] | "\(.listed) \(.found) \(.changed) \(.waiting) \(.jobs)"'; }
put() { mkdir -p "$(dirname "$WWW/$1")" && printf 'id\n%s\n' "$2" >"$WWW/$1"; }

# ---- pages of a web server ----

new_site <<INI
[pipeline html]
source  = $HTTP/index/in/{region}-*.csv
every   = 1h
settle  = 100ms
columns = id:integer!
table   = warehouse.html
[pipeline json]
source  = $HTTP/json/in/**.csv
every   = 1h
settle  = 0
on_change = reload
done_marker = *.done
columns = id:integer!
table   = warehouse.json
[pipeline gone]
source  = $HTTP/index/nowhere/*.csv
every   = 1h
columns = id:integer!
table   = warehouse.gone
[pipeline denied]
source  = $HTTP/auth/in/*.csv
every   = 1h
columns = id:integer!
table   = warehouse.denied
[pipeline later]
source  = $HTTP/files/later.csv
table   = warehouse.later
[pipeline secret]
source  = $HTTP/auth/in/other.csv
table   = warehouse.secret
[pipeline named]
source  = $HTTP/auth/{name}.csv
table   = warehouse.named
INI
put 'in/north-1.csv' 1
put "in/a b'%41-1.csv" 2
put "in/$(printf 'caf\303\251')-1.csv" 3
put 'in/other.csv' 4
put 'in/sub/deep-1.csv' 5
touch "$WWW/in/north-1.csv.done" "$WWW/in/sub/deep-1.csv.done"
is 'a page of HTML is listed' "$(qetlctl --json scan --dry-run html | jq '.objects | length')" 3
printf '["%s/files/in/north-1.csv"]' "$HTTP" >"$work/sizeless.json"
printf '[pipeline sizeless]\nsource = manifest+file://%s/sizeless.json\nevery = 1h\nsettle = 0\ncolumns = id:integer!\ntable = warehouse.html\n' "$work" >>"$site/qetl.ini"
is 'a size that nobody tells is none' "$(qetlctl --json scan --dry-run sizeless | jq -c '.objects[0] | [.size, .modified]')" '[null,null]'
like 'for people, too' "$(qetlctl scan --dry-run sizeless)" 'north-1.csv +- +- '
qetlctl scan sizeless >"$work/out"
sizeless=$(queue_sql "SELECT id FROM job WHERE pipeline = 'sizeless'")
is 'nor is it one of the job' "$(qetlctl --json show "$sizeless" | jq -c '.objects[0].size') $(queue_sql "SELECT total_size_in_bytes IS NULL FROM scanner WHERE id = $sizeless")" 'null 1'
qetlctl cancel "$sizeless" >>"$work/out"
sed -i '/^\[pipeline sizeless\]/,$d' "$site/qetl.ini"
message=$(qetlctl scan gone 2>&1)
is 'a folder that is missing is a failed scan' $? 1
like 'which says so' "$message" 'fetch-missing .*/index/nowhere/'
message=$(qetlctl --json scan --dry-run 2>"$work/err")
is 'a dry run of all fails with it' $? 1
is 'and shows what lies at the others' "$(jq '[.objects[] | select(.pipeline == "html")] | length' <<<"$message")" 3
like 'and says which failed' "$(cat "$work/err")" "scan of 'gone'.*fetch-missing"
message=$(qetlctl scan denied 2>&1)
like 'so is one that we may not see' "$message" 'fetch-denied .*/auth/in/'
qetlctl doctor >"$work/doctor"
is 'doctor fails where a source cannot be listed' $? 1
like 'it says which can be' "$(cat "$work/doctor")" 'source of html +yes'
like 'and why others cannot' "$(cat "$work/doctor")" 'source of denied +no .*\[fetch-denied\]'
like 'a source that nobody scans is asked for, too, and need not be there' "$(cat "$work/doctor")" 'source of later +yes .*/files/later.csv can be asked for'
like 'but its place has to let us' "$(cat "$work/doctor")" 'source of secret +no .*\[fetch-denied\]'
unlike 'what a parameter names is not guessed' "$(cat "$work/doctor")" 'source of named'
is 'nothing is written for it' "$(queue_sql "SELECT count(*) FROM scan WHERE pipeline = 'html'")" 0
scan json >"$work/json"
is 'JSON is listed, and markers are asked for' "$(cat "$work/json")" '5 5 0 3 2'
is 'a marker that is not there is no failure' "$(qetlctl --json status | jq -r '.scans[] | select(.pipeline == "json") | .code')" null
drain
is 'what was listed is loaded, whatever its name' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM html ORDER BY id)')" 1,2,3
is 'of JSON what has its marker' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM json ORDER BY id)')" 1,5
put 'in/north-1.csv' 10
touch "$WWW/in/north-1.csv.done" # an older one is of the file before
is 'a changed file is another object' "$(scan json)" '5 0 1 3 1'
drain
is 'nothing is loaded twice' "$(sql 'SELECT count(*) FROM html') $(sql 'SELECT count(*) FROM json')" '3 3'

# ---- manifests ----

new_site <<INI
[pipeline m]
source  = manifest+$HTTP/files/in/{%Y}/list.txt
every   = 1h
settle  = 0
on_change = reload
columns = id:integer!
table   = warehouse.m
[pipeline local]
source  = manifest+file://$work/list.json
every   = 1h
settle  = 0
columns = id:integer!
table   = warehouse.local
INI
year=$(date -u +%Y)
mkdir -p "$WWW/in/$year"
printf '# of today\n../north-1.csv\n' >"$WWW/in/$year/list.txt"
like 'a path that leads out is refused' "$(qetlctl scan m 2>&1)" "uri .*name 1 of the manifest, '../north-1.csv'"
printf '/files/in/north-1.csv\n%s/files/in/other.csv\n' "$HTTP" >"$WWW/in/$year/list.txt"
is 'names of the same host are taken' "$(scan m)" '2 2 0 0 2'
printf 'http://elsewhere.invalid/x.csv\n' >"$WWW/in/$year/list.txt"
like 'those of another are not' "$(qetlctl scan m 2>&1)" "not of the manifest's own host"
printf '{"entries": [{"url": "%s/files/in/sub/deep-1.csv", "etag": "1"}, "%s/in/other.csv"]}' "$HTTP" "$WWW" >"$work/list.json"
is 'a local manifest may name any place' "$(scan local)" '2 2 0 0 2'
drain
is 'they are loaded' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM m UNION ALL SELECT id FROM local ORDER BY id)')" 4,4,5,10

# ---- pages that are what they were are not sent again ----

new_site <<INI
[pipeline list]
source  = manifest+$HTTP/files/again/list.txt
every   = 1h
settle  = 0
on_change = reload
columns = id:integer!
table   = warehouse.list
[pipeline page]
source  = $HTTP/files/again/*.csv
every   = 1h
settle  = 0
columns = id:integer!
table   = warehouse.page
[pipeline young]
source  = $HTTP/files/again/*.csv
every   = 1h
min_age = 1h
columns = id:integer!
table   = warehouse.young
[pipeline watchful]
source  = $HTTP/files/again/*.csv
every   = 1h
settle  = 0
on_change = reload
columns = id:integer!
table   = warehouse.watchful
[pipeline dated]
source  = $HTTP/files/dated/o-{%Y%m%d}-*.csv
every   = 1h
lookback = 2d
settle  = 0
columns = id:integer!
table   = warehouse.dated
INI
put again/1.csv 1
put again/2.csv 2
printf '1.csv\n' >"$WWW/again/list.txt"
printf '<html><body><pre><a href="../">../</a>\n<a href="1.csv">1.csv</a> 2026-01-02 03:04 5\n</pre></body></html>' >"$WWW/again/index.html"
asked() { [ "$(awk -v p="$1" '$2 == "GET" && $3 == p' "$LOG" | wc -l)" -ge "$2" ]; }
answers() { # PATH [NUMBER]: the statuses of its GETs since the last call, which the server writes down behind its answers
    wait_for 30 asked "$1" "${2:-1}"
    awk -v p="$1" '$2 == "GET" && $3 == p { printf "%s ", $5 }' "$LOG"
    : >"$LOG"
}
: >"$LOG"
is 'a manifest is read' "$(scan list) $(answers /files/again/list.txt)" '1 1 0 0 1 200 '
is 'while it is the same it is not sent again, and has what it had' "$(scan list) $(answers /files/again/list.txt)" '1 0 0 0 0 304 '
printf '1.csv\n2.csv\n' >"$WWW/again/list.txt"
is 'another one is' "$(scan list) $(answers /files/again/list.txt)" '2 1 0 0 1 200 '
is 'so is the page of a folder' "$(scan page) $(answers /files/again/)$(scan page) $(answers /files/again/)" '1 1 0 0 1 200 1 0 0 0 0 304 '
sed -i 's|</pre>|<a href="2.csv">2.csv</a> 2026-01-02 03:04 5\n</pre>|' "$WWW/again/index.html"
is 'a new file makes another page' "$(scan page) $(answers /files/again/)" '2 1 0 0 1 200 '
is 'which is known then' "$(scan page) $(answers /files/again/)" '2 0 0 0 0 304 '
sqlite3 "$site/queue.db" 'UPDATE scan SET era = era + 1'
is 'in the next era all is looked at again' "$(scan page) $(answers /files/again/)" '2 0 0 0 0 200 '
sed -i '/^\[pipeline page\]/a ignore = 1.*' "$site/qetl.ini"
is 'and by other rules' "$(scan page) $(answers /files/again/)" '1 0 0 0 0 200 '
is 'while objects wait it is read' "$(scan young) $(scan young) $(answers /files/again/ 2)" '2 2 0 2 0 2 0 0 2 0 200 200 '
is 'and where a changed file is to be seen, whose page may be the same' "$(scan watchful) $(scan watchful) $(answers /files/again/ 2)" '2 2 0 0 2 2 0 0 0 0 200 200 '
put dated/index.html ''
for day in yesterday today; do
    put "dated/o-$(date -ud $day +%Y%m%d)-1.csv" 1
    printf '<a href="o-%s-1.csv">o</a> 2026-01-02 03:04 5\n' "$(date -ud $day +%Y%m%d)"
done | sed '1s/^/<html><body><pre>/;$s|$|</pre></body></html>|' >"$WWW/dated/index.html"
is 'a page that has names of two dates is read for each of them' "$(scan dated) $(scan dated)" '2 2 0 0 2 2 0 0 0 0'
qetlctl scan --dry-run page >"$work/out"
is 'a dry run reads all' "$(answers /files/again/)" '200 '

# ---- whose limits bind a manifest: those of the place that it lies at ----

new_site <<INI
[remote place]
url = $HTTP/files/again
[pipeline list]
source  = manifest+$HTTP/files/again/list.txt
every   = 1h
settle  = 0
columns = id:integer!
table   = warehouse.list
INI
is 'a manifest is read' "$(scan list)" '2 2 0 0 2'
sqlite3 "$site/queue.db" "INSERT INTO remote (name, held_until, held_why) VALUES ('place', $(($(date +%s) * 1000 + 3600000)), 'it is busy')
    ON CONFLICT (name) DO UPDATE SET held_until = excluded.held_until, held_why = excluded.held_why"
like 'but not while its place wants to be left alone' "$(qetlctl scan list)" "'place' is not listed now: it asked to be left alone: it is busy"

# ---- one object, whose server knows no HEAD ----

new_site <<INI
[pipeline one]
source  = $HTTP/nohead/in/north-1.csv
every   = 1h
settle  = 0
on_change = reload
columns = id:integer!
table   = warehouse.one
INI
is 'an object of a server without HEAD is found' "$(scan one)" '1 1 0 0 1'
is 'and known again' "$(scan one)" '1 0 0 0 0'
put 'in/north-1.csv' 1000
qetlctl cancel 1 >"$work/out" # else it is for that job
is 'or seen to be another one' "$(scan one)" '1 0 1 0 1'

# ---- S3 ----

why=${why:-this build is without S3, or curl cannot sign}
if [ "$has_s3" = no ] || ! grep -q 'define HAVE_S3 1' "$builddir/config.h" || ! curl --help all | grep aws-sigv4 >/dev/null; then
    skip "S3: $why" 1
    done_testing
    exit
fi
new_site <<INI
$(s3_remote)
[pipeline s]
source  = s3://bucket/in/{region}/*.csv
every   = 1h
settle  = 0
on_change = reload
columns = id:integer!
table   = warehouse.s
INI
for i in $(seq 10 39); do s3_put "in/north/$i.csv" "$i"; done
s3_put 'in/a%20b%27%22%25%2B/40%0A.csv' 40
s3_put 'in/caf%C3%A9/41.csv' 41
s3_put 'out/north/99.csv' 99
echo 'continuation-token=in%2Fnorth%2F23 9 503' >"$S3_FAULTS"
message=$(qetlctl scan s 2>&1)
is 'a listing that breaks off on its third page has failed' $? 1
like 'and says why' "$message" 'fetch-busy .*SlowDown'
is 'what it found before became jobs' "$(queue_sql 'SELECT count(*) > 0 AND count(*) < 32 FROM job')" 1
: >"$S3_FAULTS"
stop_service s3
start_service s3
drain
is 'the next one finds the rest: each object once' "$(sql 'SELECT count(*), count(DISTINCT id), min(id), max(id) FROM s')" '32|32|10|41'
like 'parts of the key are parameters' "$(queue_sql 'SELECT group_concat(params) FROM job_text')" "a b'"
s3_put in/north/10.csv 1010
is 'another version is another object' "$(scan s)" '32 0 1 0 1'
drain
is 'and it alone is loaded' "$(sql 'SELECT count(*), max(id) FROM s')" '33|1010'
done_testing
