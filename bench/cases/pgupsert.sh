# 1,000,000 rows upserted into 10,000,000 of PostgreSQL by an integer key, sorted and shuffled, half of them new
# shellcheck shell=bash
#
# All start from the same database, copied for each run, and from the same CSV.
. "$top/bench/cases/postgres.sh"
. "$top/bench/cases/upsert.sh"

in_run() { psql -qX -d run "$@"; }
fresh_run() {
    psql -qX -c 'DROP DATABASE IF EXISTS run' -c 'CREATE DATABASE run TEMPLATE base STRATEGY file_copy' -c CHECKPOINT
}
pgupsert_rows() { in_run -At -c "SELECT count(*) FROM orders WHERE note = 'new row'"; } # of this upsert, old keys and new

pgupsert_qetl_before() {
    fresh_run
    server_site pg "postgresql:///run?host=$PGHOST&port=$PGPORT&user=bench" 2 1 'mode = upsert' 'key = id'
    qetlctl submit orders "$data/$order.csv"
}
pgupsert_qetl() { drain; }
pgupsert_qetl_rows() { pgupsert_rows; }
pgupsert_sql() { # ORDER
    in_run -v ON_ERROR_STOP=1 <<END
BEGIN;
CREATE TEMP TABLE stage (LIKE orders) ON COMMIT DROP;
\\copy stage FROM '$data/$order.csv' (FORMAT csv, HEADER true)
INSERT INTO orders SELECT * FROM stage $1 ON CONFLICT (id) DO UPDATE SET customer = EXCLUDED.customer, quantity = EXCLUDED.quantity,
    price = EXCLUDED.price, weight = EXCLUDED.weight, placed = EXCLUDED.placed, city = EXCLUDED.city, note = EXCLUDED.note,
    sku = EXCLUDED.sku, channel = EXCLUDED.channel;
COMMIT;
END
}
pgupsert_peer_before() { fresh_run; }
pgupsert_peer() { pgupsert_sql ''; }
pgupsert_peer_rows() { pgupsert_rows; }
pgupsert_sorted_before() { fresh_run; }
pgupsert_sorted() { pgupsert_sql 'ORDER BY id'; }
pgupsert_sorted_rows() { pgupsert_rows; }

case_pgupsert() {
    local base
    usable qetl PostgreSQL 'initdb psql setpriv' || return 0
    serve_postgres || return
    base=$(scaled 10000000) rows=$(scaled 1000000)
    "$build/bench/gen" "$base" | spread 2 '' >"$data/base.csv"
    "$build/bench/gen" "$rows" | spread 19 'new row' >"$data/sorted.csv"
    { head -n 1 "$data/sorted.csv"; tail -n +2 "$data/sorted.csv" | sort -t , -k 2,2n; } >"$data/shuffled.csv"
    {
        psql -qX -c 'CREATE DATABASE base' && export PGDATABASE=base && pg_table orders 'PRIMARY KEY' &&
            psql -qX -c "\\copy orders FROM '$data/base.csv' (FORMAT csv, HEADER true)" -c 'VACUUM ANALYZE orders'
        export PGDATABASE=postgres
    } >"$work/log" 2>&1
    [ "$(psql -qXAt -d base -c 'SELECT count(*) FROM orders')" = "$base" ] || { failed qetl 'the table to upsert into was not loaded'; return; }
    rm "$data/base.csv"
    for order in sorted shuffled; do
        contender qetl qetl '' pgupsert_qetl
        contender peer 'psql, \copy and ON CONFLICT' '' pgupsert_peer
        [ $order = sorted ] || contender peer 'psql: the same, ORDER BY key' '' pgupsert_sorted
        race "CSV, $order keys, upserted into PostgreSQL" "$rows" rows/s
    done
}
