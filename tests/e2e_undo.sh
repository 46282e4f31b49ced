#!/bin/bash
# Undo on all databases: jobs of every mode that can be undone are taken back one by one, the last one first, and each time the table is as it
# was before that job, in which people have put values, too. Other seeds: SEED=7 JOBS=40 tests/e2e_undo.sh
# And a later delivery of all rows (missing = delete) stands in the way of what would bring back rows that it does not have.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
modes='append|mode = append
ignore|mode = insert_ignore|key = id
replace|mode = replace
up|mode = upsert|key = id
version|mode = upsert|key = id|version = n
changed|mode = upsert|key = id|update_only_if_changed = yes|deleted = gone|version = n
whole|mode = upsert|key = id|missing = delete
marked|mode = upsert|key = id|missing = delete|deleted = gone'

pipelines() { # TARGET
    local name options
    while IFS='|' read -r name options; do
        printf '[pipeline %s]\ncolumns = id:integer!, name:text, n:integer, gone:boolean\ntable = %s.u_%s\nundo = 1d\n%s\n' \
            "$name" "$1" "$name" "${options//|/$'\n'}"
    done <<<"$modes"
    for name in daily 'daily_marked|deleted = gone'; do
        printf '[pipeline %s]\ncolumns = id:integer!, gone:boolean\ntable = %s.%s\nundo = 1d\nmode = upsert\nkey = id\nmissing = delete\nempty = ok\n%s\n' \
            "${name%|*}" "$1" "${name%|*}" "${name#"${name%|*}"}" | tr -d '|'
    done
}
RANDOM=${SEED:-4}
some_rows() {
    local words=('Ann' '"a ""b"", \c"' '' "O'Brien" 'Zoë 😀' ' x ') i
    for ((i = RANDOM % 4; i >= 0; i--)); do
        echo "$((RANDOM % 6)),${words[RANDOM % 6]},$((RANDOM % 3)),$([ $((RANDOM % 4)) = 0 ] && echo true)"
    done
}
are_taken_back() { # TARGET ASK RUN: a check for each mode
    local name options i job jobs befores
    while IFS='|' read -r name options; do
        jobs=() befores=()
        for ((i = 0; i < ${JOBS:-8}; i++)); do
            befores+=("$("$2" "SELECT id, name, n, gone, own FROM u_$name ORDER BY 1, 2, 3, 4, 5")")
            { echo id,name,n,gone && some_rows; } >"$work/u.csv"
            run_files "$name" u.csv
            [ "$(state "$job")" = loaded ] || diag "$(cat "$work/out")"
            jobs+=("$job")
        done
        for ((i--; i >= 0; i--)); do
            qetlctl undo "${jobs[i]}" >"$work/undone" 2>&1 || { diag "$(cat "$work/undone")"; break; }
            [ "$("$2" "SELECT id, name, n, gone, own FROM u_$name ORDER BY 1, 2, 3, 4, 5")" = "${befores[i]}" ] || { diag "before job $i: ${befores[i]}"; break; }
        done
        is "$1: $name: each job is taken back, the last one first" "$i" -1
    done <<<"$modes"
}
deliveries_build_on_each_other() { # TARGET ASK: 4 checks
    local name jobs rows id
    for name in daily daily_marked; do
        jobs=()
        for rows in '1 2 3' '' '4'; do
            { echo id,gone && for id in $rows; do echo "$id,"; done; } >"$work/daily.csv"
            run_files $name daily.csv
            jobs+=("$job")
        done
        like "$1: $name: a later delivery of all rows stands in the way of one that brings rows back" "$(qetlctl undo "${jobs[1]}" 2>&1)" \
            "job ${jobs[2]} was loaded into table .*$name.* later, and had all rows that there were by then .missing = delete.: undo that one first .state."
        for job in "${jobs[@]:2:1}" "${jobs[@]:1:1}"; do qetlctl undo "$job" >/dev/null || diag "job $job"; done
        is '... until it is undone' "$("$2" "SELECT id FROM $name WHERE gone IS NULL ORDER BY 1" | xargs)" '1 2 3'
    done
}
make_tables() { # RUN KEY-TYPE
    local name options job
    while IFS='|' read -r name options; do
        job=", _job $2"
        [[ $options == *append* || $options == *ignore* ]] || job=''
        "$1" "CREATE TABLE u_$name (id bigint$([[ $options == *key* ]] && echo ' PRIMARY KEY'), name $2, n bigint, gone boolean, own $2$job)"
        "$1" "INSERT INTO u_$name (id, name, n, own) VALUES (1, 'people', 1, 'x''y'), (9, NULL, NULL, 'z')"
    done <<<"$modes"
}

new_site <<<"$(pipelines warehouse)"
to_warehouse() { sqlite3 "$site/warehouse.db" "$1"; }
qetlctl init >/dev/null
make_tables to_warehouse TEXT
are_taken_back SQLite sql
deliveries_build_on_each_other SQLite sql
on_pg() {
    new_site <<<"$(pg_remote)"$'\n'"$(pipelines pg)"
    qetlctl init >/dev/null
    make_tables pg text
    are_taken_back PostgreSQL pg
    deliveries_build_on_each_other PostgreSQL pg
}
on_my() {
    new_site <<<"$(my_remote)"$'\n'"$(pipelines my)"
    qetlctl init >/dev/null
    make_tables my 'varchar(40) CHARACTER SET utf8mb4'
    are_taken_back MariaDB my_lines
    deliveries_build_on_each_other MariaDB my_lines
}
with_postgres 12 on_pg
with_mysql 12 on_my
done_testing
