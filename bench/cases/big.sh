# 1 GB of CSV in gz, zip and tar.zst; peak RSS of worker, reader and loader from 10 MB to 10 GB
# shellcheck shell=bash
big_qetl_before() { new_site 2; qetlctl submit orders "$data/$archive"; }
big_qetl() { drain; }
big_qetl_rows() { site_rows; }
big_unpacked() { "${unpack[@]}" "$data/$archive" | tail -n +2; }
big_import_before() { drop_peer; peer_table; }
big_import() {
    read -ra unpack <<<"$unpack_words"
    import_pipe big_unpacked
}
big_import_rows() { peer_rows; }
big_import_after() { drop_peer; }
big_duckdb_before() { drop_peer; }
big_duckdb() { duck_table "$data/$archive"; }
big_duckdb_rows() { duck_rows; }
big_duckdb_after() { drop_peer; }

archive_race() { # FILE TOOL 'UNPACKING WORDS'
    archive=$1 unpack_words=$3
    [ -s "$data/$1" ] || return
    contender qetl qetl '' big_qetl
    contender peer "$3 | sqlite3 .import" "$2 sqlite3" big_import
    [ "$1" != orders.csv.gz ] || contender peer 'DuckDB, its own table, 2 threads' py:duckdb big_duckdb
    contender limit 'cp and fsync of the warehouse' '' copy_result
    race "$1 to committed rows" "$rows" rows/s "$bytes"
    rm -f "$data/$1"
}

# A gz of repeated members: COUNT times the same rows behind one header, so that 10 GB lie in little space.
repeated_gz() { # COUNT
    head -n 1 "$data/rows.csv" | gzip -1 >"$data/big.csv.gz"
    tail -n +2 "$data/rows.csv" | gzip -1 >"$data/member.gz"
    for _ in $(seq "$1"); do cat "$data/member.gz"; done >>"$data/big.csv.gz"
}
peak() { awk '/^VmHWM/ { print $2 }' "/proc/$1/status"; }
kid() { pgrep -P "$1" | head -n 1; }
growth() { # MB: two columns of ten go to the warehouse, so that it stays small
    local w l pids got
    repeated_gz "$1"
    new_site 1 'columns = id:integer!, price:real' >/dev/null
    qetl worker 2>>"$work/log" 9>&- &
    w=$!
    qetl loader 2>>"$work/log" 9>&- &
    l=$!
    servers+=("$w" "$l")
    : >"$work/log"
    timeout "$limit" qetlctl submit orders "$data/big.csv.gz" --wait >>"$work/log" 2>&1
    got=$(site_rows)
    if [ "$got" = $(($1 * member_rows)) ]; then
        w=$(kid "$w") l=$(kid "$l") pids="worker:$w reader:$(kid "$w") loader:$l"
        for w in $pids; do figure "peak RSS, $1 MB of CSV, ${w%:*}" qetl qetl MB "$(awk -v k="$(peak "${w#*:}")" 'BEGIN { print k / 1024 }')"; done
    else
        failed qetl "growth, $1 MB: $got rows"
    fi
    stop_servers
}

case_big() {
    local size
    rows=$(scaled 10800000)
    "$build/bench/gen" "$rows" >"$data/orders.csv"
    bytes=$(stat -c %s "$data/orders.csv")
    gzip -6 <"$data/orders.csv" >"$data/orders.csv.gz"
    ! have bsdtar || bsdtar -C "$data" --format zip -cf "$data/orders.zip" orders.csv
    ! have bsdtar || bsdtar -C "$data" --zstd -cf "$data/orders.tar.zst" orders.csv
    rm "$data/orders.csv"
    archive_race orders.csv.gz igzip 'igzip -dc'
    archive_race orders.zip bsdtar 'bsdtar -xOf'
    archive_race orders.tar.zst bsdtar 'bsdtar -xOf'
    member_rows=10800
    "$build/bench/gen" $member_rows >"$data/rows.csv"
    for size in 10 100 1000 10000; do
        [ "$size" -gt "$(scaled 10000)" ] || growth "$size"
    done
}
