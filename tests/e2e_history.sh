#!/bin/bash
# mode = history on all databases against its model, tests/history_model.py: jobs of rows whose versions are null, equal, older, of days to
# come and of those since the last load, with keys twice and keys missing, loaded by clocks that also go back. Of each key no two rows may
# hold at one time. Other seeds: SEED=7 JOBS=40 tests/e2e_history.sh
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need python3 python3
need sqlite3 sqlite3
need jq jq
model=$srcdir/tests/history_model.py jobs=$work/jobs
mkdir "$jobs"
python3 "$model" jobs "${SEED:-4}" "${JOBS:-14}" "$jobs" >"$jobs/days"

# As in the model; the tables are called as qetl's SQL calls its steps.
pipelines() { # TARGET
    local p name table options
    for p in 'whole|kept|version = at|missing = delete' 'part|marked|version = at' 'numbered|known|version = n|missing = delete' 'plain|changed|missing = delete'; do
        IFS='|' read -r name table options <<<"$p"
        cat <<INI
[pipeline $name]
columns = id:integer!, city:text, at:timestamp, n:integer, gone:boolean
table = $1.$table
mode = history
key = id
deleted = gone
empty = ok
${options//|/$'\n'}
INI
    done
}
# LINES SQL prints rows, a line each, columns with |, null as nothing
is_as_modelled() { # TARGET LINES
    local name table n day
    while read -r n day; do
        for name in whole part numbered plain; do echo "{\"pipeline\": \"$name\", \"objects\": [\"$jobs/$n.csv\"]}"; done | qetlctl submit - >/dev/null
        QETL_CLOCK_OFFSET_MS=$((($(date -ud "$day 12:00" +%s) - $(date +%s)) * 1000)) timeout 120 qetl drain 2>>"$site/drain"
    done <"$jobs/days"
    while read -r name table; do
        "$2" "SELECT '=', inserted, updated, unchanged, deleted, removed FROM qetl_load WHERE pipeline = '$name' ORDER BY job" >"$work/rows"
        "$2" "SELECT id, city, at, n, gone, valid_from, valid_to, is_current FROM $table" >>"$work/rows"
        is "$1: rows and counts as the model has them, of each key one row at a time: $name" "$(python3 "$model" check "$jobs" "$name" <"$work/rows" 2>&1)" ''
    done <<<$'whole kept\npart marked\nnumbered known\nplain changed'
}
new_site <<<"$(pipelines warehouse)"
is_as_modelled warehouse sql
on_pg() {
    new_site <<<"$(pg_remote)"$'\n'"$(pipelines pg)"
    is_as_modelled pg pg
}
on_my() {
    new_site <<<"$(my_remote)"$'\n'"$(pipelines my)"
    is_as_modelled my my_lines
}
with_postgres 4 on_pg
with_mysql 4 on_my
done_testing
