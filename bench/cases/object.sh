# one plain CSV of 1 GB into objects of a directory (gz, zst, by days), typed and committed, against gzip, igzip and zstd of the file
# shellcheck shell=bash
object_site() { # LINE OF THE TARGET...
    rm -rf "$site" "$data/lake"
    mkdir -p "$site"
    printf '%s\n' '[qetl]' "database = $site/queue.db" "spool = $site/spool" 'log_level = warn' '[target lake]' "url = file://$data/lake" "$@" \
        '[pipeline orders]' 'table = lake.orders' "columns = $columns" >"$site/qetl.ini"
    qetlctl init
    qetlctl submit orders "$data/orders.csv"
}
object_rows() { jq -s 'map(.tables[].rows) | add' "$data"/lake/_manifest/*.json; }
object_gz_before() { object_site 'compress = gz'; }
object_gz() { drain; }
object_gz_rows() { object_rows; }
object_zst_before() { object_site 'compress = zst'; }
object_zst() { drain; }
object_zst_rows() { object_rows; }
object_days_before() { object_site 'compress = gz' 'path = {table}/{placed:%Y-%m-%d}/{uid}.{ext}'; }
object_days() { drain; }
object_days_rows() { object_rows; }
object_packed() { sync "$data/packed"; }
object_gzip() { gzip -6 -c "$data/orders.csv" >"$data/packed" && object_packed; }
object_gzip1() { gzip -1 -c "$data/orders.csv" >"$data/packed" && object_packed; }
object_igzip() { igzip -2 -c "$data/orders.csv" >"$data/packed" && object_packed; }
object_zstd() { zstd -q -3 -c "$data/orders.csv" >"$data/packed" && object_packed; }

case_object() {
    rows=$(scaled 10800000)
    "$build/bench/gen" "$rows" >"$data/orders.csv"
    contender qetl 'qetl, csv.gz' jq object_gz
    contender qetl 'qetl, csv.zst' jq object_zst
    contender qetl 'qetl, csv.gz by days' jq object_days
    contender peer 'gzip -1 of the file' gzip object_gzip1
    contender peer 'gzip -6 of the file' gzip object_gzip
    contender limit 'igzip -2 of the file' igzip object_igzip
    contender limit 'zstd -3 of the file' zstd object_zstd
    race 'file to committed objects' "$rows" rows/s "$(stat -c %s "$data/orders.csv")"
}
