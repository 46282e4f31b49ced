# staged files to committed MariaDB rows, one and two connections, against LOAD DATA by its client; upsert; small jobs; the whole way
# shellcheck shell=bash
my_table() { # [KEY]
    my -e "DROP TABLE IF EXISTS orders; CREATE TABLE orders (id BIGINT NOT NULL ${1:-}, customer BIGINT, quantity BIGINT, price DOUBLE,
        weight DOUBLE, placed DATETIME(6), city LONGTEXT, note LONGTEXT, sku LONGTEXT, channel LONGTEXT) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
}
my_rows() { my -e 'SELECT count(*) FROM orders'; }
my_site() { # SLOTS LOADERS [LINE OF THE PIPELINE...]
    server_site my "mysql://bench@localhost/bench?socket=$my_socket" "$@"
    printf '%s\n' '[remote my]' 'url = mysql://localhost/' "password = @file:$data/password" >>"$site/qetl.ini"
    my -e 'DROP TABLE IF EXISTS qetl_load'
}
my_infile_sql() { # FILE [TABLE]
    printf "LOAD DATA LOCAL INFILE '%s' INTO TABLE %s CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY ''
        IGNORE 1 LINES (id, customer, quantity, price, weight, @placed, city, note, sku, channel) SET placed = left(@placed, 19);\n" "$1" "${2:-orders}"
}
my_client() { my_infile_sql "$1" | my; }

my_one_before() { my_table; my_site 2 1; submit_numbered 2 "$data/orders-#.csv"; stage 2; }
my_one() { drain; }
my_one_rows() { my_rows; }
my_two_before() { my_table; my_site 2 2; submit_numbered 2 "$data/orders-#.csv"; stage 2; }
my_two() { drain; }
my_two_rows() { my_rows; }
my_infile_before() { my_table; }
my_infile() { for n in 1 2; do my_client "$data/orders-$n.csv"; done; }
my_infile_rows() { my_rows; }
my_infile2_before() { my_table; }
my_infile2() { my_client "$data/orders-1.csv" & my_client "$data/orders-2.csv"; wait $!; }
my_infile2_rows() { my_rows; }

my_filled() { my_table 'PRIMARY KEY'; my_client "$data/orders-1.csv"; }
my_upsert_before() {
    my_filled
    my_site 2 1 'mode = upsert' 'key = id'
    qetlctl submit orders "$data/orders-2.csv"
    stage 1
}
my_upsert() { drain; }
my_upsert_rows() { echo $(($(my_rows) - kept)); }
my_duplicate_before() { my_filled; }
my_duplicate() {
    my -e "CREATE TEMPORARY TABLE stage SELECT * FROM orders LIMIT 0; $(my_infile_sql "$data/orders-2.csv" stage)
        INSERT INTO orders SELECT * FROM stage ON DUPLICATE KEY UPDATE customer = VALUES(customer), quantity = VALUES(quantity),
        price = VALUES(price), weight = VALUES(weight), placed = VALUES(placed), city = VALUES(city), note = VALUES(note),
        sku = VALUES(sku), channel = VALUES(channel)"
}
my_duplicate_rows() { my_upsert_rows; }

my_small_before() { my_table; my_site 2 1; submit_numbered "$files" "$data/tiny/#.csv"; stage "$files"; }
my_small() { drain; }
my_small_rows() { my_rows | awk '{ print $1 / 10 }'; }
my_single_before() { my_small_before; printf '[loader]\ngroup_jobs = 1\n' >>"$site/qetl.ini"; }
my_single() { drain; }
my_single_rows() { my_small_rows; }
my_statements_before() { my_table; }
my_statements() { for n in $(seq "$(part "$files" "$1")"); do my_infile_sql "$data/tiny/$n.csv"; done | my; }
my_statements_rows() { my_small_rows; }

my_way_before() { my_table; my_site 2 1; submit_numbered 2 "$data/orders-#.csv"; }
my_way() { drain; }
my_way_rows() { my_rows; }

case_mysql() {
    local n
    usable qetl MariaDB 'mariadb-install-db mariadb' || return 0
    serve_mariadb || return
    (umask 077 && echo bench >"$data/password")
    rows=$(scaled 10000000) files=$(scaled 20000)
    rows=$((rows / 2 * 2))
    for n in 1 2; do "$build/bench/gen" $((rows / 2)) $((1 + (n - 1) * rows / 2)) >"$data/orders-$n.csv"; done
    contender qetl 'qetl, one loader' '' my_one
    contender qetl 'qetl, two loaders' '' my_two
    contender peer 'LOAD DATA LOCAL INFILE' '' my_infile
    contender peer 'LOAD DATA LOCAL INFILE, two at once' '' my_infile2
    race 'staged to committed' "$rows" rows/s
    contender qetl qetl '' my_way
    contender peer 'LOAD DATA LOCAL INFILE' '' my_infile
    race 'CSV files to committed rows' "$rows" rows/s "$(cat "$data"/orders-?.csv | wc -c)"
    base=$((rows / 2)) rows=$(scaled 1000000)
    kept=$((base - rows / 2)) # half of them are there
    "$build/bench/gen" "$rows" $((1 + kept)) >"$data/orders-2.csv"
    contender qetl qetl '' my_upsert
    contender peer 'LOAD DATA, INSERT ... ON DUPLICATE KEY' '' my_duplicate
    race 'upsert, half of the keys are there' "$rows" rows/s
    tiny_files "$files"
    contender qetl 'qetl, 100 jobs a transaction' '' my_small
    contender qetl 'qetl, one a transaction' '' my_single
    contender peer 'LOAD DATA, one a transaction' '' my_statements 0.2
    race 'jobs of 10 rows, staged to committed' "$files" jobs/s
}
