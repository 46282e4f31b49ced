# one plain CSV of 1 GB, file to committed SQLite rows
# shellcheck shell=bash
csv_qetl_before() { new_site 2; qetlctl submit orders "$data/orders.csv"; }
csv_qetl() { drain; }
csv_qetl_rows() { site_rows; }
csv_import_before() { drop_peer; peer_table; }
csv_import() { import "$data/orders.csv" '--skip 1'; }
csv_import_rows() { peer_rows; }
csv_import_after() { drop_peer; }
csv_python_before() { drop_peer; peer_table; }
csv_python() { run_python sqlite3 tasks.py "$data/orders.csv" "$data/peer.db" "$(part "$rows" "$1")"; }
csv_python_rows() { peer_rows; }
csv_python_after() { drop_peer; }
csv_duckdb_before() { drop_peer; }
csv_duckdb() { duck_table "$data/orders.csv"; }
csv_duckdb_rows() { duck_rows; }
csv_duckdb_after() { drop_peer; }

case_csv() {
    rows=$(scaled 10800000)
    "$build/bench/gen" "$rows" >"$data/orders.csv"
    contender qetl qetl '' csv_qetl
    contender peer 'sqlite3 .import, typed table' sqlite3 csv_import
    contender peer 'DuckDB, its own table, 2 threads' py:duckdb csv_duckdb
    contender peer 'Python csv and executemany' py:sqlite3 csv_python 0.3
    contender limit 'cp and fsync of the warehouse' '' copy_result
    race 'file to committed rows' "$rows" rows/s "$(stat -c %s "$data/orders.csv")"
}
