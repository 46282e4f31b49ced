# staged files to committed PostgreSQL rows, one and two connections, against psql \copy and pgloader; upsert; small jobs; the whole way
# shellcheck shell=bash
pg_url="postgresql:///postgres?host=\$PGHOST&port=\$PGPORT&user=bench" # filled in when the server runs

pg_table() { # NAME [KEY]
    psql -qX -c "DROP TABLE IF EXISTS $1; CREATE TABLE $1 (id bigint NOT NULL ${2:-}, customer bigint, quantity bigint, price float8,
        weight float8, placed timestamptz, city text, note text, sku text, channel text)"
}
pg_rows() { psql -qXAt -c "SELECT count(*) FROM $1"; }
pg_site() { # SLOTS LOADERS [LINE OF THE PIPELINE...]
    server_site pg "$(eval "echo \"$pg_url\"")" "$@"
    psql -qX -c 'DELETE FROM qetl_load'
}

pg_one_before() { pg_table orders; pg_site 2 1; submit_numbered 2 "$data/orders-#.csv"; stage 2; }
pg_one() { drain; }
pg_one_rows() { pg_rows orders; }
pg_two_before() { pg_table orders; pg_site 2 2 ; submit_numbered 2 "$data/orders-#.csv"; stage 2; }
pg_two() { drain; }
pg_two_rows() { pg_rows orders; }
pg_copy_before() { pg_table orders; }
pg_copy() { for n in 1 2; do psql -qX -c "\\copy orders FROM '$data/orders-$n.csv' (FORMAT csv, HEADER true)"; done; }
pg_copy_rows() { pg_rows orders; }
pg_copy2_before() { pg_table orders; }
pg_copy2() { seq 2 | xargs -P 2 -I{} psql -qX -c "\\copy orders FROM '$data/orders-{}.csv' (FORMAT csv, HEADER true)"; }
pg_copy2_rows() { pg_rows orders; }
pg_pgloader_before() {
    pg_table orders
    head -n $(($(part "$whole" "$1") + 1)) "$data/orders-1.csv" >"$data/some.csv"
    cat >"$data/load" <<END
LOAD CSV FROM '$data/some.csv' INTO postgresql://bench@unix:$PGHOST:$PGPORT/postgres?tablename=orders
    WITH skip header = 1, fields terminated by ',', fields optionally enclosed by '"';
END
}
pg_pgloader() { pgloader --root-dir "$data/pgloader" "$data/load"; }
pg_pgloader_rows() { pg_rows orders; }

pg_upsert_before() {
    pg_table orders 'PRIMARY KEY'
    psql -qX -c "\\copy orders FROM '$data/orders-1.csv' (FORMAT csv, HEADER true)" -c 'ANALYZE orders'
    pg_site 2 1 'mode = upsert' 'key = id'
    qetlctl submit orders "$data/orders-2.csv"
    stage 1
}
pg_upsert() { drain; }
pg_upsert_rows() { echo $(($(pg_rows orders) - half)); }
pg_on_conflict_before() {
    pg_table orders 'PRIMARY KEY'
    psql -qX -c "\\copy orders FROM '$data/orders-1.csv' (FORMAT csv, HEADER true)" -c 'ANALYZE orders'
}
pg_on_conflict() {
    psql -qX -v ON_ERROR_STOP=1 <<END
BEGIN;
CREATE TEMP TABLE stage (LIKE orders) ON COMMIT DROP;
\\copy stage FROM '$data/orders-2.csv' (FORMAT csv, HEADER true)
INSERT INTO orders SELECT * FROM stage ON CONFLICT (id) DO UPDATE SET customer = EXCLUDED.customer, quantity = EXCLUDED.quantity,
    price = EXCLUDED.price, weight = EXCLUDED.weight, placed = EXCLUDED.placed, city = EXCLUDED.city, note = EXCLUDED.note,
    sku = EXCLUDED.sku, channel = EXCLUDED.channel;
COMMIT;
END
}
pg_on_conflict_rows() { pg_upsert_rows; }

pg_small_before() { pg_table orders; pg_site 2 1; submit_numbered "$files" "$data/tiny/#.csv"; stage "$files"; }
pg_small() { drain; }
pg_small_rows() { pg_rows orders | awk '{ print $1 / 10 }'; }
pg_single_before() { pg_small_before; printf '[loader]\ngroup_jobs = 1\n' >>"$site/qetl.ini"; }
pg_single() { drain; }
pg_single_rows() { pg_small_rows; }
pg_psql_before() { pg_table orders; }
pg_psql() { seq "$(part "$files" "$1")" | sed "s|.*|\\\\copy orders FROM '$data/tiny/&.csv' (FORMAT csv, HEADER true)|" | psql -qX; }
pg_psql_rows() { pg_small_rows; }

pg_way_before() { pg_table orders; pg_site 2 1; submit_numbered 2 "$data/orders-#.csv"; }
pg_way() { drain; }
pg_way_rows() { pg_rows orders; }

case_postgres() {
    local n
    usable qetl PostgreSQL 'initdb psql setpriv' || return 0
    serve_postgres || return
    rows=$(scaled 10000000) files=$(scaled 20000)
    rows=$((rows / 2 * 2))
    whole=$rows
    for n in 1 2; do "$build/bench/gen" $((rows / 2)) $((1 + (n - 1) * rows / 2)) >"$data/orders-$n.csv"; done
    pg_site 1 1 2>/dev/null || : # makes the ledger
    contender qetl 'qetl, one loader' '' pg_one
    contender qetl 'qetl, two loaders' '' pg_two
    contender peer 'psql \copy' '' pg_copy
    contender peer 'psql \copy, two at once' '' pg_copy2
    contender peer pgloader pgloader pg_pgloader 0.05
    race 'staged to committed' "$rows" rows/s
    contender qetl qetl '' pg_way
    contender peer 'psql \copy' '' pg_copy
    race 'CSV files to committed rows' "$rows" rows/s "$(cat "$data"/orders-?.csv | wc -c)"
    "$build/bench/gen" $((rows / 2)) $((1 + rows / 4)) >"$data/orders-2.csv" # half of them are there
    rows=$((rows / 2))
    half=$((rows / 2))
    contender qetl qetl '' pg_upsert
    contender peer 'psql, \copy and ON CONFLICT' '' pg_on_conflict
    race 'upsert, half of the keys are there' "$rows" rows/s
    tiny_files "$files"
    contender qetl 'qetl, 100 jobs a transaction' '' pg_small
    contender qetl 'qetl, one a transaction' '' pg_single
    contender peer 'psql \copy, one a transaction' '' pg_psql 0.2
    race 'jobs of 10 rows, staged to committed' "$files" jobs/s
}
