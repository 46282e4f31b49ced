# one CSV of 500 MB through where=, compute=, an identity SELECT and an aggregate, against the same pipeline without
# shellcheck shell=bash
sql_site() { new_site 2 "$@"; qetlctl submit orders "$data/orders.csv"; }
sql_plain_before() { sql_site; }
sql_plain() { drain; }
sql_plain_rows() { site_rows; }
sql_where_before() { sql_site "where = id >= 0 AND channel IS NOT 'none'"; }
sql_where() { drain; }
sql_where_rows() { site_rows; }
sql_compute_before() { sql_site 'compute = total:real = price * quantity'; }
sql_compute() { drain; }
sql_compute_rows() { site_rows; }
sql_identity_before() { sql_site 'transform = SELECT * FROM input'; }
sql_identity() { drain; }
sql_identity_rows() { site_rows; }
sql_aggregate_before() { # as many rows are counted as went in
    sql_site 'output = city:text, n:integer, price:real' 'transform = SELECT city, count(*) AS n, avg(price) AS price FROM input GROUP BY city'
}
sql_aggregate() { drain; }
sql_aggregate_rows() { sqlite3 -readonly "$site/warehouse.db" 'SELECT sum(n) FROM orders'; }

case_sql() {
    rows=$(scaled 5000000)
    "$build/bench/gen" "$rows" >"$data/orders.csv"
    contender qetl 'without SQL' '' sql_plain
    contender qetl 'where=' '' sql_where
    contender qetl 'compute=' '' sql_compute
    contender qetl 'transform=, identity' '' sql_identity
    contender qetl 'transform=, GROUP BY' '' sql_aggregate
    race 'SQL over rows, file to committed' "$rows" rows/s "$(stat -c %s "$data/orders.csv")"
}
