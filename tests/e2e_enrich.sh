#!/bin/bash
# [enrich]: rows get columns from an HTTP server: each key is asked for once, within what is allowed; whatever the server does wrong is
# clear, and loses no row.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need python3 python3

told() { qetlctl --json "${2-show}" "$1" | jq -c '.enriched[] | [.enrich, .pipeline, .keys, .cached, .missed, .failed]'; } # of a job
held() { qetlctl --json enrich | jq -c '.enrich[] | [.enrich, .answers, .misses, .quota, .quota_used, .state]'; }
drain() { timeout 120 qetl drain 2>>"$site/drain.log"; }
serve() {
    log=$work/log.$1
    python3 "$srcdir/tests/enrich_server.py" "$work/port.$1" >"$log" 2>"$work/server.err" &
    servers="${servers-} $!"
    wait_for 60 test -s "$work/port.$1" || bail "the server does not start: $(cat "$work/server.err")"
    url=http://127.0.0.1:$(cat "$work/port.$1")
}
trap 'stop_roles; kill ${servers-} 2>/dev/null; cleanup' EXIT
asked() { grep -c " $1" "$log"; } # requests whose path begins so

facts='columns = title:text from name, length:integer'
site_with() { # [enrich facts] from standard input; $1: more of the pipeline
    new_site <<INI
[enrich facts]
$(cat)
[pipeline p]
columns = id:integer!, k:text
enrich = facts
table = warehouse.p
$(case ${1-} in *backoff*) ;; *) echo 'backoff = 100ms' ;; esac)
${1-}
INI
    qetlctl init >/dev/null
}
keys() { awk -v n="$1" -v k="$2" 'BEGIN { print "id,k"; for (i = 1; i <= n; i++) print i ",k" (i % k) }'; } # N rows, K keys

serve main

# ---- what it is for ----
site_with 'max_rejects = 10' <<INI
url = $url/slower/{k}
$facts
connections = 4
INI
keys 3000 50 >"$work/many.csv"
job=$(submit p "$work/many.csv")
ok 'rows get their columns' drain
is '... all of them' "$(sql "SELECT count(*), count(title), sum(title = 'name of ' || k), sum(length = length(k)) FROM p")" '3000|3000|3000|3000'
is '... each key was asked for once' "$(asked /slower/)" 50
most=$(awk '$3 ~ "^/slower/" && $2 > m { m = $2 } END { print m }' "$log")
ok "... several at a time, as many as it may ($most)" test "$most" -gt 1 -a "$most" -le 4
is '... the columns have their types' "$(sql "SELECT group_concat(type, ' ') FROM pragma_table_info('p')")" 'INTEGER TEXT TEXT INTEGER'
submit p "$work/many.csv" >/dev/null
ok 'a second job' drain
is '... asks for none of them' "$(asked /slower/)" 50
is '... and has them all' "$(sql 'SELECT count(title) FROM p')" 6000
is 'qetlctl enrich counts what is kept' "$(held)" '["facts",50,0,null,null,"open"]'
like '... in words' "$(qetlctl enrich facts)" 'facts +50 +0 +[0-9.]+ KiB +- +open +- +0 +-'
sqlite3 "$site/queue.db-enrich" "UPDATE answer SET body = 'cut' WHERE id % 2"
job=$(submit p "$work/many.csv")
ok 'answers of the cache that cannot be read' drain
is '... are asked for anew, within the attempt' "$(field "$job" rows_staged),$(field "$job" attempts),$(asked /slower/)" '3000,1,75'
printf 'id,k\n1,a/b?c&d=e f%%\n2,..b\n3,Zürich "quoted"\n4,\n' >"$work/odd.csv"
sqlite3 "$site/warehouse.db" 'DELETE FROM p'
submit p "$work/odd.csv" >/dev/null
ok 'odd keys arrive as they are' drain
is '... encoded' "$(sql 'SELECT title FROM p WHERE title IS NOT NULL ORDER BY id')" "$(printf 'name of a/b?c&d=e f%%\nname of ..b\nname of Zürich "quoted"')"
is '... a null is not asked for' "$(sql 'SELECT count(*) FROM p WHERE k IS NULL AND title IS NULL')" 1

new_site <<INI
[enrich facts]
url = $url/ok/{d}_{r}_{n}_{b}_{on}_{at}
columns = title:text from name
round = 2
[pipeline p]
columns = d:decimal(4), r:real, n:integer, b:boolean, on:date, at:timestamp
enrich = facts
table = warehouse.p
INI
qetlctl init >/dev/null
printf 'd,r,n,b,on,at\n1.2350,-0.001,-7,yes,2026-11-21,2026-11-21T08:15:00+01:00\n-0.0049,2.345678e3,0,f,2026-01-02,2026-11-21 08:15:00.5\n' >"$work/typed.csv"
submit p "$work/typed.csv" >/dev/null
ok 'typed values' drain
is '... are asked for in one form, and rounded' "$(sql 'SELECT title FROM p ORDER BY n')" "$(printf 'name of 1.24_0.00_-7_true_2026-11-21_2026-11-21T07:15:00Z\nname of 0.00_2345.68_0_false_2026-01-02_2026-11-21T08:15:00.5Z')"

# ---- a body, and one after the other ----
new_site <<INI
[enrich first]
url = $url/ok/{k}
columns = title:text from name
[enrich second]
url = $url/echo
body = {"q": "{title} of {{", "n": {id}, "again": {k}}
columns = echoed:text from name, n:integer from length
[pipeline p]
columns = id:integer!, k:text
enrich = first, second
table = warehouse.p
INI
qetlctl init >/dev/null
printf 'id,k\n7,"a ""b"" \\"\n' >"$work/one.csv"
submit p "$work/one.csv" >/dev/null
ok 'a second one takes what the first one found, in a body' drain
# shellcheck disable=SC1003
is '... whole' "$(sql 'SELECT echoed, n FROM p')" 'name of a "b" \ of {{|7'

# ---- what names an answer ----
site_with <<INI
url = $url/ok/{k}?row={id}
key = k
$facts
INI
printf 'id,k\n1,same\n2,same\n3,other\n4,same\n' >"$work/named.csv"
job=$(submit p "$work/named.csv")
ok 'rows with the same key share an answer, whatever else the url has' drain
is '... also within a job' "$(asked /ok/same),$(asked /ok/other)" '1,1'
is '... each row has it' "$(sql 'SELECT count(*), count(DISTINCT title), count(title) FROM p')" '4|2|4'

# ---- to forget answers ----
site_with <<INI
url = $url/forget/{k}
$facts
INI
is 'before anything was asked there is no cache' "$(held) $(qetlctl --json enrich facts --forget)" '["facts",0,0,null,null,"open"] {"forgotten":0}'
ok '... and none is made for a look' test ! -e "$site/queue.db-enrich"
printf 'id,k\n1,a\n2,nobody\n3,b\n4,void\n' >"$work/some.csv"
submit p "$work/some.csv" >/dev/null
drain
is 'of two answers and two misses' "$(held)" '["facts",4,2,null,null,"open"]'
is '... the misses can be forgotten' "$(qetlctl --json enrich facts --forget --misses)" '{"forgotten":2}'
submit p "$work/some.csv" >/dev/null
drain
is '... then they alone are asked for again' "$(asked /forget/) $(held)" '6 ["facts",4,2,null,null,"open"]'
start_role worker
# shellcheck disable=SC2016
wait_for 60 eval '[ "$(qetlctl --json workers | jq ".workers | length")" = 1 ]'
is 'while a worker runs all of them can be' "$(qetlctl enrich facts --forget)" "4 answers of 'facts' are forgotten; what is asked for again counts for its quota"
job=$(submit p "$work/some.csv")
ok '... it goes on' wait_for 60 job_is "$job" staged
is '... and asks for all again' "$(asked /forget/) $(held)" '10 ["facts",4,2,null,null,"open"]'
stop_roles
sed -i 's/^\[enrich facts\]/[enrich called]/; s/^enrich = facts/enrich = called/' "$site/qetl.ini"
is 'what is in the ini no more is shown, too' "$(held)" "$(printf '["called",0,0,null,null,"open"]\n["facts",4,2,null,null,"not in the ini"]')"
is '... and can be forgotten' "$(qetlctl --json enrich facts --forget)" '{"forgotten":4}'
qetlctl enrich nowhere >"$work/out" 2>&1
is 'a name that is none is said so' "$?" 5
qetlctl enrich --forget >"$work/out" 2>&1
like '... and one that is missing' "$? $(cat "$work/out")" '^2 .*enrich wants the name of one \[enrich\] to forget answers of'
qetlctl enrich called --misses >"$work/out" 2>&1
is '... and misses of nothing' "$?" 2

# ---- beside the other steps ----
new_site <<INI
[enrich facts]
url = $url/ok/{k}
$facts
[pipeline filtered]
columns = id:integer!, k:text
where = id > 2
distinct = k
enrich = facts
filter = cat
table = warehouse.filtered
mode = upsert
key = title
[pipeline summed]
columns = id:integer!, k:text
enrich = facts
transform = SELECT title, sum(length) AS n FROM input GROUP BY title
output = title:text, n:integer
table = warehouse.summed
[pipeline undone]
columns = id:integer!, k:text
enrich = facts
undo = 1d
table = warehouse.undone
INI
qetlctl init >/dev/null
printf 'id,k\n1,a\n2,bb\n3,a\n4,bb\n5,a\n' >"$work/steps.csv"
for i in filtered summed undone; do submit "$i" "$work/steps.csv" >/dev/null; done
ok 'where, distinct, filter and transform stand beside it' drain
is '... a filter gets the columns, and gives them back' "$(sql 'SELECT id, k, title, length FROM filtered ORDER BY id' | tr '\n' ' ')" '3|a|name of a|1 4|bb|name of bb|2 '
is '... SQL has them' "$(sql 'SELECT title, n FROM summed ORDER BY 1' | tr '\n' ' ')" 'name of a|3 name of bb|4 '
is '... and so have the rows of a job that can be undone' "$(sql 'SELECT count(title), count(DISTINCT _job) FROM undone')" '5|1'

# ---- what may pass, and what does not ----
site_with '' <<INI
url = $url/flaky/{k}
$facts
INI
keys 6 3 >"$work/few.csv"
job=$(submit p "$work/few.csv")
ok 'a request that fails is sent again' drain
is '... within the attempt' "$(field "$job" attempts),$(asked /flaky/)" '1,6'

for what in null reject fail; do
    site_with "attempts = 1
max_rejects = 10" <<INI
url = $url/down/$what/{k}
$facts
retries = 1
on_error = $what
INI
    job=$(submit p "$work/few.csv")
    drain
    case $what in
    null)
        is 'on_error = null: the rows are there without' "$(state "$job"),$(sql 'SELECT count(*), count(title) FROM p')" 'loaded,6|0'
        is '... the job says how many keys failed' "$(told "$job")" '["facts","p",3,0,0,3]'
        like '... and why' "$(qetlctl show "$job" | grep '^facts')" "3 .*$url/down/null/k[0-2]: the server answered 500"
        is '... report, too, of one job and of all' "$(told "$job" report) $(told --since=1h report)" '["facts","p",3,0,0,3] ["facts","p",3,0,0,3]'
        like '... and the log' "$(cat "$site/drain.log")" 'enrichments failed.*enrich=facts keys=3 failed=3 error=.*answered 500'
        dry=$(qetlctl --json submit p "$work/few.csv" --dry-run)
        is '... and a rehearsal' "$(jq -c '.enriched[] | [.enrich, .keys, .cached, .missed, .failed]' <<<"$dry")" '["facts",3,0,0,3]'
        like '... in words' "$(qetlctl submit p "$work/few.csv" --dry-run)" 'facts +p +3 +0 +0 +3 .*/down/null/k[0-2].*answered 500'
        like '... and run' "$(qetlctl run p "$work/few.csv")" 'facts +p +3 +0 +0 +3 .*/down/null/k[0-2].*answered 500'
        ;;
    reject)
        is 'on_error = reject: they are rejects' "$(state "$job"),$(field "$job" rows_rejected)" 'loaded,6'
        like '... with the key and the reason' "$(queue_sql "SELECT inlined FROM output WHERE kind = 'rejects'")" '"reason":"enrich-error","message":"\[enrich facts\]: [^"]*/down/reject/k1: the server answered 500","column":"k","value":"k1"'
        ;;
    fail)
        is 'on_error = fail: the job fails' "$(state "$job"),$(field "$job" error_code)" 'dead,enrich'
        like '... and says what was asked, and what came' "$(field "$job" error)" "\[enrich facts\].*$url/down/fail/k[0-9]: the server answered 500"
        ;;
    esac
done
is '... each key was tried twice, and no more than that' "$(asked /down/reject/)" 6

for what in null reject fail; do
    for how in none empty; do
        site_with 'max_rejects = 10' <<INI
url = $url/$how/$what/{k}
$facts
on_miss = $what
INI
        job=$(submit p "$work/few.csv")
        drain
        case $what in
        null) is "on_miss = null ($how): the rows are there without" "$(state "$job"),$(sql 'SELECT count(*), count(title) FROM p')" 'loaded,6|0' ;;
        reject)
            is "on_miss = reject ($how): they are rejects" "$(field "$job" rows_rejected),$(field "$job" rows_staged)" '6,0'
            job=$(submit p "$work/few.csv")
            drain
            is '... that there is none is kept, too' "$(field "$job" rows_rejected),$(asked "/$how/$what/")" '6,3'
            is '... and the job says so' "$(told "$job")" '["facts","p",3,3,3,0]'
            is '... and so does qetlctl enrich' "$(held)" '["facts",3,3,null,null,"open"]'
            submit p "$work/few.csv" >/dev/null
            QETL_CLOCK_OFFSET_MS=172800000 drain
            is '... but not as long as an answer' "$(asked "/$how/$what/")" 6
            ;;
        fail) is "on_miss = fail ($how): the job fails" "$(state "$job"),$(field "$job" error_code)" 'dead,enrich-miss' ;;
        esac
    done
done

site_with '' <<INI
url = $url/ok/typo/{k}
columns = title:text from nmae
INI
qetlctl run p "$work/few.csv" >"$work/run.out"
like 'a path with a typo: the job says that nothing was found' "$(cat "$work/run.out")" 'all 3 answers of \[enrich facts\] lack the paths of its columns: nmae'
sed -i 's/from nmae/from name/' "$site/qetl.ini"
job=$(submit p "$work/few.csv")
drain
is '... mended, it is found in the answers that were kept' "$(told "$job"),$(asked /ok/typo/)" '["facts","p",3,3,0,0],3'
is '... by each row' "$(sql 'SELECT count(*), count(title) FROM p')" '12|6'

# ---- answers that are none ----
for how in html half type long; do
    site_with 'attempts = 3
backoff = 1h
backoff_max = 1h' <<INI
url = $url/$how/{k}
$facts
on_miss = fail
INI
    job=$(submit p "$work/few.csv")
    drain
    case $how in
    html) want="not valid JSON.*<html>" ;;
    half) want='not valid JSON.*"ha' ;;
    type) want="column 'length'.*not an integer.*many" ;;
    long) want='more than 65536 bytes' ;;
    esac
    like "$how: the job says so, and waits" "$(state "$job"),$(field "$job" error_code): $(field "$job" error)" "^ready,enrich[a-z-]*: .*$want"
    ok '... nothing is loaded' test "$(sql 'SELECT count(*) FROM p' 2>/dev/null || echo 0)" = 0
    eval "${how}_site=\$site ${how}_job=\$job"
    sed -i 's/^\[enrich facts\]/&\non_error = reject/; s/^\[pipeline p\]/&\nmax_rejects = 10/' "$site/qetl.ini"
    next=$(submit p "$work/few.csv")
    drain
    like '... and so do rejects' "$(qetlctl --json rejects "$next" | jq -r '.rejects[0].message')" "^\\[enrich facts\\]: .*$want"
    sed -i '/^on_error = reject/d' "$site/qetl.ini"
done
curl -s "$url/mend" >/dev/null || python3 -c "import urllib.request as u; u.urlopen('$url/mend')"
for how in html half type long; do
    eval "site=\$${how}_site job=\$${how}_job"
    QETL_CONFIG=$site/qetl.ini QETL_CLOCK_OFFSET_MS=7200000 drain
    is "$how: mended, the same job is loaded" "$(QETL_CONFIG=$site/qetl.ini state "$job"),$(sql 'SELECT count(title) FROM p')" 'loaded,6'
done

site_with 'max_rejects = 10' <<INI
url = $url/ok/up/{k}/x
$facts
on_error = reject
INI
printf 'id,k\n1,..\n2,a\n3,.\n' >"$work/up.csv"
job=$(submit p "$work/up.csv")
drain
is 'a value that would change the path is not asked for' "$(state "$job"),$(field "$job" rows_rejected),$(asked /ok/up/)" loaded,2,1

site_with 'attempts = 1' <<INI
url = $url/moved/{k}
$facts
INI
job=$(submit p "$work/few.csv")
drain
like 'a redirect is not followed, and the job says so' "$(state "$job") $(field "$job" error)" '^dead .*301.*redirects are not followed'
site_with 'attempts = 1' <<INI
url = $url/hang/{k}
$facts
timeout = 300ms
retries = 0
INI
job=$(submit p "$work/few.csv")
drain
like 'a server that does not answer' "$(state "$job") $(field "$job" error)" '^dead .*timed out'
site_with 'attempts = 1' <<INI
url = http://127.0.0.1:1/{k}
$facts
retries = 1
INI
job=$(submit p "$work/few.csv")
drain
like 'a server that is not there' "$(state "$job") $(field "$job" error)" '^dead .*127.0.0.1.*[Cc]onnect'

site_with 'max_rejects = 10' <<INI
url = $url/hang/reject/{k}
$facts
timeout = 300ms
retries = 0
on_error = reject
INI
job=$(submit p "$work/few.csv")
drain
like 'a reject says what went wrong' "$(qetlctl --json rejects "$job" | jq -r '.rejects[0].message')" '^\[enrich facts\]: .*/hang/reject/k.*timed out'
like '... in the table for people, too' "$(qetlctl rejects "$job")" 'enrich-error +k +k1 +\[enrich facts\]: .*/hang/reject/k1: [^ ].*timed out.*few.csv'

# ---- answers with a good status that are errors ----
for what in null reject fail; do
    site_with "attempts = 1
max_rejects = 10" <<INI
url = $url/over/$what/{k}
$facts
error = error
retries = 1
on_error = $what
INI
    job=$(submit p "$work/few.csv")
    drain
    said="/over/$what/k[0-2]: the server answered 200 with error 'over limit:'"
    case $what in
    null)
        is 'error =, on_error = null: the rows are there without' "$(state "$job"),$(sql 'SELECT count(*), count(title) FROM p')" 'loaded,6|0'
        is '... they failed, and are no misses' "$(told "$job")" '["facts","p",3,0,0,3]'
        like '... show says what the server said' "$(qetlctl show "$job" | grep '^facts')" "$said"
        like '... and the log' "$(cat "$site/drain.log")" "enrichments failed.*enrich=facts keys=3 failed=3 error=.*over limit:"
        ;;
    reject)
        is 'error =, on_error = reject: they are rejects' "$(state "$job"),$(field "$job" rows_rejected)" 'loaded,6'
        like '... that say it' "$(qetlctl --json rejects "$job" | jq -r '.rejects[0] | .reason + " " + .message')" "^enrich-error \\[enrich facts\\]: .*$said"
        ;;
    fail)
        is 'error =, on_error = fail: the job fails' "$(state "$job"),$(field "$job" error_code)" 'dead,enrich'
        like '... and says it' "$(field "$job" error)" "\[enrich facts\].*$said"
        ;;
    esac
done
is '... each key was tried twice, and nothing was kept' "$(asked /over/reject/),$(sqlite3 "$site/queue.db-enrich" 'SELECT count(*) FROM answer')" 6,0
site_with '' <<INI
url = $url/sulky/{k}
$facts
error = status not OK, ZERO_RESULTS
INI
job=$(submit p "$work/few.csv")
ok 'an error in an answer may pass' drain
is '... the request is sent again, within the attempt' "$(field "$job" attempts),$(asked /sulky/),$(sql 'SELECT count(title) FROM p')" 1,6,6
site_with '' <<INI
url = $url/zero/{k}
$facts
error = status not OK, ZERO_RESULTS
INI
job=$(submit p "$work/few.csv")
drain
is 'a status that is good, and nothing else, is a miss' "$(told "$job"),$(asked /zero/)" '["facts","p",3,0,3,0],3'

site_with '' <<INI
url = $url/picky/{k}
$facts
error = error
retries = 1
on_error = null
INI
keys 200 200 | sed '/k0$/d' >"$work/ranges.csv"
job=$(submit p "$work/ranges.csv")
drain
is 'some keys in a row that a server never answers cost the others nothing' "$(told "$job"),$(sql 'SELECT count(*) FROM p WHERE title IS NULL')" \
    '["facts","p",199,0,0,14],14'

site_with 'attempts = 2' <<INI
url = $url/over/held/{k}
$facts
error = error
connections = 1
retries = 0
quota = 1000/300d
INI
keys 40 40 >"$work/forty.csv"
sed -i 's/^error = error/&\non_error = null/' "$site/qetl.ini"
submit p "$work/few.csv" >/dev/null
drain
is 'errors in a row are counted' "$(sqlite3 "$site/queue.db-enrich" 'SELECT failures, quota_used FROM place'),$(asked /over/held/)" '3|3,3'
sqlite3 "$site/queue.db-enrich" 'UPDATE place SET failures = 16' # it was so for long
job=$(submit p "$work/forty.csv")
drain
is '... so that a server that says so again and again is left alone' "$(told "$job"),$(asked /over/held/)" '["facts","p",40,0,0,40],4'
is '... what was not asked does not count' "$(held)" '["facts",0,0,1000,4,"down"]'
like '... the job says why' "$(qetlctl show "$job" | grep '^facts')" "failed 17 times in a row and is left alone until .*: the server answered 200 with error 'over limit:'"
like '... and so does qetlctl enrich' "$(qetlctl --json enrich facts | jq -r '.enrich[0] | [.failures, .quota_seconds, .until, .message] | join(" ")')" \
    '^17 25920000 20[^ ]*Z the server answered 200 with error'
sed -i '/^on_error = null/d' "$site/qetl.ini"
job=$(submit p "$work/few.csv")
drain
is '... where rows need it their job waits' "$(state "$job"),$(field "$job" error_code)" ready,enrich-down
site_with '' <<INI
url = $url/over/mended/{k}
$facts
INI
job=$(submit p "$work/few.csv")
drain
is 'without error = such an answer is a miss, and is kept' "$(told "$job")" '["facts","p",3,0,3,0]'
like '... and the job says that this is strange' "$(qetlctl show "$job")" 'all 3 answers of \[enrich facts\] lack the paths'
sed -i 's/^\[enrich facts\]/&\nerror = error/' "$site/qetl.ini"
curl -s "$url/lift" >/dev/null || python3 -c "import urllib.request as u; u.urlopen('$url/lift')"
job=$(submit p "$work/few.csv")
drain
is '... until the ini says that it is none' "$(told "$job"),$(asked /over/mended/)" '["facts","p",3,0,0,0],6'
job=$(submit p "$work/few.csv")
drain
is '... the good ones are kept' "$(told "$job"),$(asked /over/mended/)" '["facts","p",3,3,0,0],6'

site_with 'attempts = 1' <<INI
url = $url/refused/{k}
$facts
error = error
INI
job=$(submit p "$work/few.csv")
drain
like 'a bad status with an error in its answer says that, too' "$(field "$job" error_code) $(field "$job" error)" "^enrich-refused .*answered 403 with error 'over limit:'"
is '... and is not asked again' "$(asked /refused/)" 3

# ---- limits ----
site_with '' <<INI
url = $url/limited/{k}
$facts
connections = 6
INI
keys 8 8 >"$work/eight.csv"
job=$(submit p "$work/eight.csv")
ok 'a server that says 429 for a second is left alone so long' drain
is '... and asked again, within the attempt' "$(state "$job"),$(field "$job" attempts),$(sql 'SELECT count(title) FROM p')" 'loaded,1,8'
site_with '' <<INI
url = $url/closed/{k}
$facts
connections = 1
INI
job=$(submit p "$work/few.csv")
drain
is 'one that says so for an hour: the job waits' "$(state "$job"),$(field "$job" error_code)" 'ready,enrich-busy'
next=$(submit p "$work/few.csv")
drain
is '... and another job is not begun at all' "$(queue_sql "SELECT count(*) FROM attempt WHERE job = $next"),$(asked /closed/)" '0,1'
like '... and explain says until when' "$(qetlctl explain "$next")" 'the server is busy and is left alone until 20.*429; it goes on in'
is '... status, too, for all of them' "$(qetlctl --json status | jq -c '[.enrich_held[] | [.enrich, .jobs]]')" '[["facts",2]]'
like '... and both name the verb that ends it' "$(qetlctl status | paste -sd ' ') $(qetlctl explain "$next")" 'resume --enrich NAME asks .* resume --enrich .facts. ends that'
is '... by which it is asked again' "$(qetlctl --json resume --enrich facts) $(qetlctl resume --enrich facts 2>&1 >/dev/null; echo $?)" \
    "{\"enrich\":\"facts\"} qetlctl: no server of 'facts' is left alone; qetlctl status lists those that are [not-found]
5"
drain
is '... once, and held again when it says the same' "$(asked /closed/),$(qetlctl --json status | jq -c '[.enrich_held[] | [.enrich, .jobs]]')" '2,[["facts",2]]'
sed 's|/queue.db$|/other.db|; s|/spool$|/other-spool|' "$site/qetl.ini" >"$site/other.ini"
export QETL_CONFIG=$site/other.ini
qetlctl init >/dev/null
submit p "$work/few.csv" >/dev/null
drain
is '... another queue of the same folder asks for itself' "$(asked /closed/)" 3
is '... qetlctl enrich knows that the server asked for it' "$(held)" '["facts",0,0,null,null,"busy"]'
export QETL_CONFIG=$site/qetl.ini
is '... the place of its file is not held for that' "$(qetlctl --json status | jq '.remotes | length')" 0
sed -i "s|^url = .*/closed/.*|url = $url/ok/opened/{k}|" "$site/qetl.ini"
drain
is '... another url is another server' "$(state "$job"),$(state "$next"),$(qetlctl --json status | jq '.enrich_held | length')" 'loaded,loaded,0'

SLOTS=2 site_with '' <<INI
url = $url/ok/quota/{k}
$facts
quota = 5/300d
ttl = 3000d
INI
for i in 1 2 3; do awk -v f="$i" 'NR == 1 || (NR - 2) % 3 == f - 1' "$work/eight.csv" >"$work/part$i.csv"; done
jobs=$(for i in 1 2 3; do submit p "$work/part$i.csv"; done)
drain
is 'a quota binds all jobs' "$(asked /ok/quota/)" 5
is '... qetlctl enrich says that it is used up' "$(held)" '["facts",5,0,5,5,"quota"]'
like '... in words' "$(qetlctl enrich)" 'facts +5 +0 .*5 of 5 +quota +20'
like '... which nobody can end but by the ini' "$(qetlctl resume --enrich facts 2>&1)" 'its quota is used up until 20.*; if the server allows more, raise quota= .*.state.'
waiting=$(for j in $jobs; do ! job_is "$j" ready || echo "$j"; done)
ok '... those that need more wait' test -n "$waiting"
for j in $(head -n 1 <<<"$waiting"); do
    is '... which costs no attempt' "$(field "$j" attempts)" 0
    like '... explain says why and until when' "$(qetlctl explain "$j")" 'the quota of 5 requests is used up; the next one begins at 20'
    is '... the error log, too' "$(qetlctl --json errors "$j" 2>/dev/null | jq -r '.errors[0].code')" enrich-quota
done
QETL_CLOCK_OFFSET_MS=25920000000 drain
is '... and are loaded when it begins' "$(sql 'SELECT count(*), count(title) FROM p')" '8|8'
is '... without asking again for what they had' "$(asked /ok/quota/)" 8

SLOTS=2 site_with '' <<INI
url = $url/ok/many/{k}
$facts
quota = 2/300d
INI
for i in $(seq 60); do printf 'id,k\n%d,m%d\n' "$i" "$i" >"$work/m$i.csv"; done
for i in $(seq 60); do printf '{"pipeline":"p","objects":["%s"]}\n' "$work/m$i.csv"; done | qetlctl submit - >/dev/null
drain
left=$(queue_sql "SELECT count(*) FROM job WHERE state = 'ready'")
is 'many jobs wait for a quota' "$left" 58
written=$(queue_sql 'SELECT (SELECT count(*) FROM attempt) + (SELECT count(*) FROM error)')
ok "... those that met with it, and those of the same claim, wrote that down ($written)" test "$written" -le 60
drain
is '... the others wrote nothing, and are not begun' "$(queue_sql 'SELECT (SELECT count(*) FROM attempt) + (SELECT count(*) FROM error)'),$(asked /ok/many/)" "$written,2"
sed -i 's|^quota = .*|quota = 100/300d|' "$site/qetl.ini"
drain
is '... and go on when the ini allows more' "$(sql 'SELECT count(*), count(title) FROM p')" '60|60'

site_with 'attempts = 1' <<INI
url = $url/down/quota/{k}
$facts
quota = 100/300d
connections = 1
retries = 0
INI
submit p "$work/eight.csv" >/dev/null
drain
is 'what was not sent does not count' "$(sqlite3 "$site/queue.db-enrich" 'SELECT quota_used FROM place'),$(asked /down/quota/)" '1,1'

# ---- a server that is down ----
site_with '' <<INI
url = $url/outage/{k}
$facts
connections = 1
retries = 20
INI
keys 30 30 >"$work/thirty.csv"
job=$(submit p "$work/thirty.csv")
ok 'a server that fails ten times in a row' drain
is '... is asked again, within the attempt' "$(state "$job"),$(field "$job" attempts),$(asked /outage/)" 'loaded,1,41'
gaps=$(awk '$3 ~ "^/outage/" { n++; if (n == 11) a = $1 - last; if (n == 12) b = $1 - last; last = $1 } END { print (a >= 950 && b >= 1950), a, b }' "$log")
like "... after a second, then after two" "$gaps" '^1 '

site_with 'attempts = 2' <<INI
url = $url/sick/{k}
$facts
connections = 1
retries = 0
INI
job=$(submit p "$work/few.csv")
drain
sqlite3 "$site/queue.db-enrich" 'UPDATE place SET failures = 16, held_until = 0' # it was so for long
sed -i 's/^retries = .*/retries = 3/' "$site/qetl.ini"
job=$(submit p "$work/few.csv")
drain
is 'one that is down for long: the job waits, which costs no attempt' "$(state "$job"),$(field "$job" error_code),$(field "$job" attempts)" 'ready,enrich-down,0'
requests=$(asked /sick/)
next=$(submit p "$work/few.csv")
drain
is '... and another one is not begun' "$(queue_sql "SELECT count(*) FROM attempt WHERE job = $next"),$(asked /sick/)" "0,$requests"
like '... explain says why' "$(qetlctl explain "$next")" 'the server failed 17 times in a row and is left alone until 20.*500; it goes on in'
QETL_CLOCK_OFFSET_MS=140000 drain
is '... later one request is sent, and nobody follows' "$(state "$job"),$(asked /sick/)" "ready,$((requests + 1))"
python3 -c "import urllib.request as u; u.urlopen('$url/heal')"
QETL_CLOCK_OFFSET_MS=1000000 drain
is '... all go on when it is back' "$(state "$job"),$(state "$next")" loaded,loaded
hour=$(($(date +%s%3N) + 3600000))
sqlite3 "$site/queue.db-enrich" "UPDATE place SET failures = 17, held_at = $hour - 3600000, held_until = $hour, held_why = 'it was so'"
job=$(submit p "$work/thirty.csv")
drain
is 'one of which nobody knows that it is well again: the job waits' "$(state "$job"),$(field "$job" error_code)" ready,enrich-down
qetlctl resume --enrich facts >/dev/null
drain
is '... until a person has it asked' "$(state "$job"),$(held)" 'loaded,["facts",30,0,null,null,"open"]'

site_with 'max_rejects = 10' <<INI
url = $url/down/null/{k}
$facts
retries = 0
on_error = null
INI
submit p "$work/few.csv" >/dev/null
drain
sqlite3 "$site/queue.db-enrich" 'UPDATE place SET failures = 14, held_until = 0'
before=$(asked /down/null/)
submit p "$work/thirty.csv" >/dev/null
ok 'a server that is down, and rows may do without' drain
is '... which all of them do' "$(sql 'SELECT count(*), count(title) FROM p')" '36|0'
ok "... without asking for each ($(($(asked /down/null/) - before)))" test "$(($(asked /down/null/) - before))" -lt 20

site_with '' <<INI
url = $url/ok/interval/{k}
$facts
interval = 200ms
INI
submit p "$work/eight.csv" >/dev/null
ok 'interval = 200ms' drain
took=$(awk '$3 ~ "^/ok/interval/" { first = first ? first : $1; last = $1 } END { print last - first }' "$log")
ok "... eight requests take seven of them, give or take ($took ms)" test "$took" -ge 700

site_with '' <<INI
url = $url/ok/hourly/{k}
$facts
interval = 1h
INI
keys 2 2 >"$work/two.csv"
job=$(submit p "$work/two.csv")
drain
is 'interval = 1h: the job does not hold its slot for the second request' "$(state "$job"),$(field "$job" error_code),$(field "$job" attempts)" 'ready,enrich-quota,0'
like '... explain says until when' "$(qetlctl explain "$job")" 'its interval lets the next request start at 20'
QETL_CLOCK_OFFSET_MS=3660000 drain
is '... and is loaded then' "$(state "$job"),$(sql 'SELECT count(title) FROM p'),$(asked /ok/hourly/)" 'loaded,2,2'

# ---- a lease is kept while the server takes its time; a crash keeps what was answered ----
LEASE=5s HEARTBEAT=500ms site_with '' <<INI
url = $url/slow/{k}
$facts
connections = 1
INI
keys 35 35 >"$work/slow.csv"
job=$(submit p "$work/slow.csv")
ok 'a server slower than the lease' drain
is '... loses no lease' "$(state "$job"),$(field "$job" attempts),$(asked /slow/)" 'loaded,1,35'

LEASE=2s HEARTBEAT=500ms site_with '' <<INI
url = $url/slower/crash/{k}
$facts
connections = 4
INI
keys 400 200 >"$work/crash.csv"
job=$(submit p "$work/crash.csv")
"$bin/qetl" worker 2>>"$site/worker.log" &
role_pid=$!
# shellcheck disable=SC2016
ok 'a worker is killed in the middle' wait_for 60 bash -c '[ "$(grep -c " /slower/crash/" "$1")" -ge 130 ]' - "$log"
pkids=$(pgrep -P "$role_pid")
# shellcheck disable=SC2086
kill -9 "$role_pid" $pkids
wait "$role_pid" 2>/dev/null
ok '... another one goes on' bash -c 'timeout 120 qetl drain --max-wait 30s'
is '... every row is there once' "$(sql 'SELECT count(*), count(DISTINCT id), count(title) FROM p')" '400|400|400'
ok "... what was in the cache is not asked for again ($(asked /slower/crash/) requests)" test "$(asked /slower/crash/)" -lt 350

# ---- secrets ----
(umask 077 && echo s3cr3t-url >"$work/url.key" && echo s3cr3t-head >"$work/head.key")
for how in secret down/secret refused/secret; do
    site_with 'attempts = 1' <<INI
url = $url/$how/{k}?key={@file:$work/url.key}
header = X-Key: @file:$work/head.key
$facts
retries = 0
error = error
INI
    job=$(submit p "$work/few.csv")
    QETL_TEST_LOG=debug drain
    case $how in
    secret) is 'secrets by reference arrive' "$(sql 'SELECT count(title) FROM p')" 6 ;;
    refused/*) like '... nor where the server says them back' "$(field "$job" error)" "answered 403 with error 'over limit: \*\*\* \*\*\*'" ;;
    *) like '... and are not shown' "$(field "$job" error)" '\?key=\.\.\.: the server answered 500' ;;
    esac
    is "... nor kept anywhere ($how)" "$(grep -l s3cr3t -r "$site" | head -n 3)" ''
done

(umask 077 && echo s3cr3t-pass >"$work/pass.key")
for user in u nobody; do
    site_with 'attempts = 1' <<INI
url = $url/login/$user/{k}
$facts
[remote geo]
url = $url/login/
user = $user
password = @file:$work/pass.key
header = X-More: 1
INI
    job=$(submit p "$work/few.csv")
    drain
    case $user in
    u) is 'user, password and header of a [remote] are those of the url' "$(sql 'SELECT count(title) FROM p')" 6 ;;
    *) is '... and wrong ones are said to be' "$(state "$job"),$(field "$job" error_code)" 'dead,enrich-refused' ;;
    esac
done

# ---- the ini ----
bad() { qetlctl -c "$work/bad.ini" check 2>&1; }
printf '[target w]\nurl = sqlite:w.db\n[enrich e]\nurl = http://{host}/x\ncolumns = a!, b from _job\nmethod = GET\nbody = {"a": {c}\nquota = many\n[pipeline p]\nenrich = f\ntable = w.p\n' >"$work/bad.ini"
out=$(bad)
like 'a host that a row could choose is refused' "$out" 'bad.ini:4: \[enrich e\] url: the host must stand there whole'
like '... and a GET with a body' "$out" 'method: expected POST'
like '... and a column that nothing fills' "$out" 'a!: with on_miss = null it would be null'
like '... and a quota of no number' "$out" 'bad.ini:8: \[enrich e\] quota: .* such as 2500/day'
like '... and a name that is none' "$out" 'enrich: there is no \[enrich f\]'
like '... and columns that would be found out' "$out" 'columns: missing: with enrich'
printf '[target w]\nurl = sqlite:w.db\n[enrich e]\nurl = http://h/{c}\ncolumns = a\n[pipeline p]\ncolumns = a, b\nenrich = e\ntable = w.p\n' >"$work/bad.ini"
like 'a value that the rows do not have is refused' "$(bad)" "\[enrich e\] takes 'c', which is not among the columns"
printf '[target w]\nurl = sqlite:w.db\n[enrich e]\nurl = http://h/{b}\ncolumns = a\nerror = status OK\n[pipeline p]\ncolumns = b\nenrich = e\ntable = w.p\n' >"$work/bad.ini"
like '... and an error without its not' "$(bad)" "bad.ini:6: \[enrich e\] error: 'status OK': expected .* such as error.message or status not OK"
sed -i 's/^error = .*/error = a..b/' "$work/bad.ini"
like '... and one at a path that is none' "$(bad)" "enrich: \[enrich e\]: error: path 'a..b': a key was expected"
done_testing
