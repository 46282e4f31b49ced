#!/bin/bash
# Keys and versions that a table compares otherwise than by their bytes: NOCASE of SQLite, citext and ICU of PostgreSQL, the usual collations
# of MariaDB. Which keys are one, and which of two versions is the later one, is the table's to say, inside a job as between jobs.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq

pipelines() { # TARGET
    local p name options
    for p in 'up|mode = upsert' 'changed|mode = upsert|update_only_if_changed = yes' 'latest|mode = upsert|version = v' 'first|mode = insert_ignore' \
        'kept|mode = upsert|undo = 1d' 'whole|mode = upsert|missing = delete' 'past|mode = history' 'later|mode = history|version = v|missing = delete'; do
        IFS='|' read -r name options <<<"$p"
        printf '[pipeline %s]\ncolumns = k:text!, v:text, n:integer\nkey = k\ntable = %s\n%s\n' "$name" "$1.${2-t}_$name" "${options//|/$'\n'}"
    done
}
load() { # PIPELINE ROW...
    local p=$1
    shift
    printf '%s\n' k,v,n "$@" >"$work/$p.csv"
    run_files "$p" "$p.csv"
    end=$(qetlctl --json show "$job" | jq -r '.job | "\(.state) \(.rows_inserted) \(.rows_updated) \(.rows_unchanged) \(.rows_removed)"')
}
# The tables t_NAME are there, with keys of which A and a are one, and versions of which a is before B.
story() { # TARGET ASK: 15 checks
    local t=$1 ask=$2 p
    for p in up changed kept whole; do
        load $p A,a,1 b,a,2 a,a,3
        is "$t: $p: the later row of a key is the one, however the key is written" "$end $("$ask" "SELECT lower(k), n FROM t_$p ORDER BY 1" | xargs)" \
            'loaded 2 0 1 0 a|3 b|2'
    done
    for p in up changed; do
        load $p B,a,4 A,a,3 a,a,5
        is "$t: $p: ... between jobs, too" "$end $("$ask" "SELECT lower(k), n FROM t_$p ORDER BY 1" | xargs)" 'loaded 0 2 1 0 a|5 b|4'
    done
    load kept a,a,3 B,a,2
    like "$t: undo knows a later job that wrote the key otherwise" "$(qetlctl undo "$(queue_sql "SELECT min(id) FROM job WHERE pipeline = 'kept'")" 2>&1)" \
        "job $job was loaded into table .* later, and changed the same rows"
    qetlctl undo "$job" >/dev/null
    qetlctl undo "$(queue_sql "SELECT min(id) FROM job WHERE pipeline = 'kept'")" >"$work/undone" 2>&1
    is "$t: undo takes it out" "$("$ask" 'SELECT count(*) FROM t_kept')" 0
    diag "$(cat "$work/undone")"
    load whole a,a,9
    is "$t: what is missing goes, and what is there does not" "$end $("$ask" 'SELECT lower(k), n FROM t_whole')" 'loaded 0 1 0 1 a|9'
    load first A,a,1 a,a,2 A,a,3
    is "$t: insert_ignore: the first one stays" "$end $("$ask" 'SELECT k, n FROM t_first')" 'loaded 1 0 2 0 A|1'
    load latest 1,B,1 1,a,2
    is "$t: the later version is the table's to say" "$end $("$ask" 'SELECT v, n FROM t_latest')" 'loaded 1 0 1 0 B|1'
    load past A,a,1 b,a,1 a,a,2
    load past A,a,3 b,a,1
    is "$t: history: one row of a key is current" "$end $("$ask" 'SELECT lower(k), n FROM t_past ORDER BY 1, valid_from' | xargs)" 'loaded 0 1 1 0 a|2 a|3 b|1'
    is "$t: ... the later one" "$("$ask" 'SELECT n FROM t_past WHERE valid_to IS NULL ORDER BY n' | xargs)" '1 3'
    load later A,B,1 a,a,2 c,a,1
    load later c,a,1
    load later a,C,3
    is "$t: ... also with versions and rows that come back" "$("$ask" 'SELECT lower(k), v, n FROM t_later ORDER BY 1, valid_from, valid_to IS NULL, valid_to' | xargs)" 'a|a|2 a|B|1 a|C|3 c|a|1'
    is "$t: ... and no two of a key hold at one time" \
        "$("$ask" 'SELECT count(*) FROM t_later a JOIN t_later b ON a.k = b.k AND a.n <> b.n AND a.valid_from < b.valid_from AND (a.valid_to IS NULL OR a.valid_to > b.valid_from)')" 0
}
make_tables() { # RUN KEY VERSION NUMBER MOMENT TRUTH
    local p
    for p in up changed latest first kept whole; do "$1" "CREATE TABLE t_$p (k $2 PRIMARY KEY, v $3, n $4)"; done
    for p in past later; do "$1" "CREATE TABLE t_$p (k $2 NOT NULL, v $3, n $4, valid_from $5 NOT NULL, valid_to $5 NULL, is_current $6 NOT NULL)"; done
}

new_site <<<"$(pipelines warehouse)"
to_warehouse() { sqlite3 "$site/warehouse.db" "$1"; }
make_tables to_warehouse 'TEXT COLLATE NOCASE' 'TEXT COLLATE NOCASE' INTEGER TIMESTAMP BOOLEAN
story SQLite sql
for p in cents others; do
    printf '[pipeline %s]\ncolumns = k:decimal(2)!, v:integer, n:integer\nkey = k\ntable = warehouse.t_%s\nmode = upsert\nversion = v\n' "$p" "$p" >>"$site/qetl.ini"
done
for n in 1 2; do printf '%s\n' k,v,n 1,$n,$n 1.50,$n,$n >"$work/cents$n.csv" && submit cents "$work/cents$n.csv"; done >/dev/null
submit others "$work/cents2.csv" >/dev/null
drain
is 'whole numbers and others as keys, of several jobs and tables one behind the other' \
    "$(sql 'SELECT k, v, n FROM t_cents UNION ALL SELECT k, v, n FROM t_others' | xargs)" '1|2|2 1.5|2|2 1|2|2 1.5|2|2'

on_pg() {
    new_site <<<"$(pg_remote)"$'\n'"$(pipelines pg)"
    qetlctl init >/dev/null
    pg 'CREATE EXTENSION citext' >/dev/null
    make_tables pg citext citext bigint timestamptz boolean
    story citext pg
    for p in up changed latest first kept whole past later; do pg "DROP TABLE t_$p"; done
    new_site <<<"$(pg_remote)"$'\n'"$(pipelines pg)"
    pg "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    make_tables pg 'text COLLATE nocase' 'text COLLATE nocase' bigint timestamptz boolean
    story ICU pg
    pg "CREATE TYPE size AS ENUM ('small', 'large', 'huge'); DROP TABLE t_latest; CREATE TABLE t_latest (k text PRIMARY KEY, v size, n bigint)"
    load latest 1,large,1 1,small,2
    load latest 1,small,3 1,huge,4
    is 'an ENUM says which version is the later one' "$end $(pg 'SELECT v, n FROM t_latest')" 'loaded 0 1 1 0 huge|4'
    pg "DROP TABLE t_kept; CREATE TABLE t_kept (k text COLLATE \"C\", v text COLLATE \"de-x-icu\", n bigint, PRIMARY KEY (k, v))"
    sed -i '/^\[pipeline kept\]/,/^key/s/^key = k/key = k, v/' "$site/qetl.ini"
    load kept a,x,1 B,x,2
    ok 'keys of two collations, with undo' qetlctl undo "$job"
}
on_my() {
    new_site <<<"$(my_remote)"$'\n'"$(pipelines my)"
    qetlctl init >/dev/null
    make_tables my 'VARCHAR(20) COLLATE utf8mb4_general_ci' 'VARCHAR(20) COLLATE utf8mb4_general_ci' BIGINT 'DATETIME(6)' BOOLEAN
    story MariaDB my_lines
}
with_postgres 32 on_pg
with_mysql 15 on_my
done_testing
