#!/bin/bash
# whole = trailer: an object that proves to be cut off is waited for, not dead, and nothing of it is loaded before it is whole.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need bsdtar libarchive-tools

waits() { queue_is "SELECT count(*) FROM job WHERE state = 'ready' AND due = 0 AND attempts = 0 AND token = $1" 1; } # at try TOKEN
site() { # LINES of the pipeline
    new_site <<INI
[pipeline p]
source  = in/*
every   = 1s
settle  = 0
ignore  =
attempts = 1
columns = id:integer!
table   = warehouse.p
$1
INI
    mkdir "$site/in"
}
rows='id
'$(seq 1000)
mkdir "$work/make"
printf '%s\n' "$rows" >"$work/make/r.csv"
(cd "$work/make" && bsdtar -cf r.tar r.csv && bsdtar -czf r.tgz r.csv && bsdtar --format zip -cf r.zip r.csv && gzip -k r.csv && bsdtar --format 7zip -cf r.7z r.csv)
printf '%s\nT|1000\n' "$rows" >"$work/make/r.txt"

for kind in csv.gz tgz tar zip 7z txt; do
    site 'whole = trailer'
    [ $kind != txt ] || echo 'closing_line = T|*' >>"$site/qetl.ini"
    size=$(stat -c %s "$work/make/r.$kind")
    head -c $((size / 3)) "$work/make/r.$kind" >"$site/in/r.$kind"
    start_role all
    ok "$kind: a file that is cut off waits" wait_for 60 waits 1
    like "$kind: and it is said why" "$(qetlctl explain 1)" 'Its object is cut off: it waits until the source shows another version of it'
    is "$kind: by one error, and no try is counted" "$(qetlctl --json errors | jq -r '[.errors[].code] | join(" ")') $(field 1 attempts)" 'truncated 0'
    cp "$work/make/r.$kind" "$site/in/r.$kind"
    ok "$kind: when it grew it is loaded" wait_for 60 rows_are 'SELECT count(*), count(DISTINCT id) FROM p' '1000|1000'
    is "$kind: by the same job" "$(queue_sql "SELECT count(*), max(state) FROM job")" '1|loaded'
    stop_roles
done

# ---- it grows several times, and changes count once ----

site 'whole = trailer
closing_line = T|*
on_change = reload'
printf 'id\n1\n' >"$site/in/a.txt"
start_role all
ok 'a file without its closing line waits' wait_for 60 waits 1
printf '2\n' >>"$site/in/a.txt"
ok 'when it grew and still has none it waits again' wait_for 60 waits 2
printf 'T|2\n' >>"$site/in/a.txt"
ok 'when it has it it is loaded' wait_for 60 rows_are 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)' 1,2
is 'once, whatever on_change says of objects that were loaded' "$(queue_sql "SELECT count(*) FROM job")" 1
stop_roles

# ---- it never becomes whole ----

site 'whole = trailer
whole_wait = 2s
closing_line = T|*'
printf 'id\n1\n' >"$site/in/a.txt"
start_role all
ok 'when the wait is over the job is dead' wait_for 60 queue_is "SELECT state FROM job" dead
is 'after two tries at most' "$(queue_sql 'SELECT count(*) BETWEEN 1 AND 2 FROM error')" 1
is 'and nothing was loaded' "$(sql 'SELECT count(*) FROM p' 2>/dev/null || echo 0)" 0
stop_roles

# ---- without it, and for a job by hand ----

site 'closing_line = T|*'
printf 'id\n1\n' >"$site/in/a.txt"
qetl drain --scan --max-wait 30s 2>"$work/drain"
is 'by default the job of such a file is dead' "$(queue_sql 'SELECT state FROM job')" dead
like 'and its error says what was expected' "$(qetlctl errors)" "truncated .*its last line is '1', and none like closing_line = T"
site 'whole = trailer
closing_line = T|*'
printf 'id\n1\n' >"$work/b.txt"
qetlctl submit p "$work/b.txt" >"$work/out"
qetl drain --max-wait 30s 2>"$work/drain"
is 'so is that of an object that nobody looks at' "$(queue_sql 'SELECT state FROM job')" dead
done_testing
