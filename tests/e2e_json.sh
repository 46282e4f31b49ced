#!/bin/bash
# doc/output.md has each key that qetlctl --json prints, verb by verb, and no other: the page against what the programs print.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
new_site <<INI
[limits]
row = 64K
[remote place]
url = http://127.0.0.1:9/
connections = 1
[target lake]
url = sqlite://$work/lake/lake.db
[pipeline p]
columns = id:integer!
table   = warehouse.p
max_rejects = 10
undo    = 1d
[pipeline alike]
columns = id:integer!, name
table   = warehouse.alike
profile = yes
[pipeline l]
columns = id:integer!
table   = lake.l
[target objects]
url = file://$work/objects
[pipeline o]
columns = id:integer!
table   = objects.o
[pipeline empty]
columns = id:integer!
table   = elsewhere.t
undo    = 1d
[target elsewhere]
url = sqlite://$work/elsewhere.db
[pipeline found]
source   = $work/found/*.csv
every    = 1h
settle   = 0s
columns  = id:integer!
table    = warehouse.found
[pipeline strict]
source   = $work/strict/*.csv
every    = 1h
settle   = 0s
on_change = fail
columns  = id:integer!
table    = warehouse.found
[pipeline left]
source   = $work/left/*.csv
every    = 1h
settle   = 0s
after    = move:$work/good.csv/done
columns  = id:integer!
table    = warehouse.found
[pipeline events]
source   = stream:events
columns  = id:integer!, at:timestamp
table    = warehouse.events
event_time = at
[pipeline wider]
columns  = id:integer!
table    = warehouse.wider
on_new_column = add
[enrich away]
url      = http://127.0.0.1:1/{id}
columns  = fact:text
retries  = 0
on_error = null
quota    = 1000/300d
[pipeline asked]
columns  = id:integer!
enrich   = away
table    = warehouse.asked
[pipeline hourly]
source   = $work/good.csv
cron     = * * * * *
job_per  = slot
columns  = id:integer!
table    = warehouse.found
INI
page=$srcdir/doc/output.md

# "SECTION KEY" and "SECTION KEY TYPE", the type as jq has it, for each row of its tables; a job, a finding, an error and a scan are put in where a key is one.
awk -F '|' '
    /^## / { section = $0; gsub(/^## |`/, "", section); known[section] = 1; next }
    /^\| `/ { key = $2; gsub(/[ `]/, "", key); keys[section, ++n[section]] = key; type[section, n[section]] = $3 }
    END {
        for (s in known)
            for (i = 1; i <= n[s]; i++) {
                of = type[s, i] ~ /#a-job/ ? "A job" : type[s, i] ~ /#a-finding/ ? "A finding of drift" : type[s, i] ~ /#an-error/ ? "An error" : type[s, i] ~ /#an-enrichment/ ? "An enrichment" : type[s, i] ~ /#a-scan/ ? "A scan" : ""
                if (!of) tell(s, keys[s, i], type[s, i])
                for (k = 1; of && k <= n[of]; k++) tell(s, keys[s, i] "." keys[of, k], type[of, k])
            }
    }
    function tell(s, key, type) {
        gsub(/ /, "", type)
        print s "\t" key "\t" (type ~ /^(number|size)$/ ? "number" : type ~ /^(boolean|true)$/ ? "boolean" : type ~ /^(text|time)$/ ? "string" : type)
    }' "$page" | grep -v '^A job\|^A finding\|^An error\|^An enrichment\|^A scan' | sort >"$work/types"
cut -f1,2 "$work/types" | sort -u >"$work/documented"

# What a call prints, as such lines.
: >"$work/printed"
prints() { # SECTION ARGUMENTS...
    local section=$1
    shift
    qetlctl --json "$@" 2>>"$work/said" | jq -r --arg section "$section" '
        . as $all | paths(type != "object" and type != "array") | . as $at | reduce .[] as $step (""; if $step | type == "number" then . + "[]" else . + "." + $step end)
        | $section + "\t" + ltrimstr(".") + "\t" + ($all | getpath($at) | type)' >>"$work/printed"
}

printf 'id\n1\n2\n' >"$work/good.csv"
{ printf 'id\nx\n\377\n' && head -c 100000 /dev/zero | tr '\0' y && echo; } >"$work/some.csv"
ln -s /nowhere/at/all "$work/lake"
prints check check
printf '[qetl]\nnix = 1\n' >"$work/faulty.ini"
QETL_CONFIG=$work/faulty.ini prints check check
qetlctl init 2>/dev/null # a target is away, and that is said; the queue is there
printf '[qetl]\ndatabase = %s/q.db\nspool = %s/s\n' "$work" "$work" >"$work/small.ini"
QETL_CONFIG=$work/small.ini prints init init
prints submit submit p "$work/good.csv"
prints 'submit -' submit - <<<'{"pipeline":"p","objects":["'"$work"'/good.csv"]}'
there=$(qetlctl --json submit l "$work/good.csv" | jq .id)
mkdir "$work/found"
cp "$work/good.csv" "$work/found/one.csv"
prints scan scan found --dry-run
prints scan scan found
mv "$work/found" "$work/gone"
prints scan scan found # fails
mkdir "$work/left"
cp "$work/good.csv" "$work/left/one.csv"
qetlctl scan left >>"$work/said" 2>&1
mkdir "$work/strict"
cp "$work/good.csv" "$work/strict/one.csv"
qetlctl scan strict >>"$work/said" 2>&1
qetlctl cancel "$(queue_sql "SELECT id FROM job WHERE pipeline = 'strict'")" >>"$work/said"
cp "$work/some.csv" "$work/strict/one.csv"
qetlctl scan strict >>"$work/said" 2>&1
prints scan scan strict --accept "$work/strict/one.csv"
prints scan scan hourly
QETL_CLOCK_OFFSET_MS=120000 prints scan scan hourly
prints scan scan hourly --slots
start_role all
ok 'a target is away' wait_for 60 away
left() { qetlctl --json status | jq -e '.after[0].code'; }
ok 'and after= cannot be done' wait_for 60 left
prints show show "$(queue_sql "SELECT id FROM job WHERE pipeline = 'left'")"
prints status status
prints workers workers
prints 'submit --wait' submit asked "$work/good.csv" --wait
prints 'submit --wait' submit p "$work/some.csv" --wait
prints 'submit -' submit - --wait <<<'{"pipeline":"p","objects":["'"$work"'/good.csv"]}'
stop_roles
prints run run p "$work/good.csv"
last=$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')
printf 'id,name,more\n1,a,x\n1,a,x\n' >"$work/alike.csv"
qetlctl run alike "$work/alike.csv" >>"$work/said"
prints report report "$((last + 1))"
prints report report
prints show show "$((last + 1))" # drift
last=$((last + 1))
qetlctl run p "$work/none.csv" 2>/dev/null
for verb in jobs errors doctor help; do prints "$verb" "$verb"; done
prints show show "$last"        # objects
prints show show "$((last - 3))" # rejects
prints show show "$((last + 1))" # errors
prints explain explain "$there"
prints 'rejects list' rejects list
prints rejects rejects "$((last - 3))"
prints 'rejects replay' rejects replay "$((last - 3))"
prints 'submit --dry-run' submit p "$work/some.csv" --dry-run
prints 'submit --dry-run' submit l "$work/good.csv" --dry-run
prints 'submit --dry-run' submit o "$work/good.csv" --dry-run
prints 'submit --dry-run' submit empty "$work/good.csv" --dry-run
sqlite3 "$work/elsewhere.db" 'CREATE VIEW t AS SELECT 1'
prints 'submit --dry-run' submit empty "$work/good.csv" --dry-run
printf 'id\n%s' "$(seq -f 'x%.0f' 20)" >"$work/bad.csv"
prints 'submit --dry-run' submit p "$work/bad.csv" --dry-run
prints 'submit --dry-run' submit asked "$work/good.csv" --dry-run
prints 'submit --dry-run' submit wider "$work/alike.csv" --dry-run
prints run run asked "$work/good.csv"
prints show show "$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')"
prints report report "$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')"
prints enrich enrich
prints enrich enrich away --forget
prints query query warehouse 'SELECT 1 AS a'
prints infer infer "$work/good.csv"
printf 'id;price\n1;1,5\n2\n' >"$work/odd.csv"
prints infer infer "$work/odd.csv"
prints retry retry --dead
prints cancel cancel "$((last + 1))"
prints undo undo "$((last - 1))"
prints pause pause p
prints resume resume p
sqlite3 "$site/queue.db" "INSERT INTO remote (name, held_until) VALUES ('held', (unixepoch() + 3600) * 1000)"
prints resume resume --remote held
prints prune prune --dry-run
prints prune prune
prints emit emit events -e '{"id":1,"at":"2024-01-01"}'
echo '{"id":2,"at":"2024-01-02"}' >"$work/two.jsonl"
qetlctl run events "$work/two.jsonl" >>"$work/said"
prints show show "$(qetlctl --json jobs --pipeline events | jq '.jobs[0].id')"
sqlite3 "$site/queue.db" "INSERT INTO enriched VALUES ('p', 'geo', ''); INSERT INTO enrich_hold VALUES ('geo', 0, 9999999999999, 0, 'its quota'),
    ('away', 0, 9999999999999, 1, 'it is down')"
prints status status
prints resume resume --enrich away
qetlctl run wider "$work/alike.csv" >>"$work/said"
prints 'submit -' submit - --wait --timeout 0s <<<'{"pipeline":"p","objects":["'"$work"'/good.csv"],"at":"1h"}'
prints columns columns
prints columns columns wider --forget more
sed -i 's/^query\trows\[\]\..*/query\trows[]\tobject/' "$work/printed" # named by who asks
sed -i -E 's/^(report\tprofile\[\]\.columns\[\]\.(min|max|top\[\]\.value))\t.*/\1\tany/' "$work/printed" # of the column's type
sed -i 's/^\(submit --dry-run\ttables\[\]\.sample\[\]\)\..*/\1\tobject/; s/^\(submit --dry-run\trejects\[\]\)\..*/\1\tobject/' "$work/printed" # likewise
sort -u "$work/printed" | grep -v '	null$' >"$work/printed.types" # nothing: any key may be
cut -f1,2 "$work/printed" | sort -u -o "$work/printed"

is 'each key that is printed is in the page' "$(comm -13 "$work/documented" "$work/printed")" ''
is 'each key of the page is printed' "$(comm -23 "$work/documented" "$work/printed")" ''
is 'each is of the type that the page has' "$(sort "$work/types" | comm -13 - "$work/printed.types")" ''
is 'each verb has its part of the page' \
    "$(qetlctl --json help | jq -r '.verbs[].verb' | sort | comm -23 - <(cut -f1 "$work/documented" | sort -u))" ''
[ "$tests_failed" = 0 ] || diag "$(cat "$work/said")"
done_testing
