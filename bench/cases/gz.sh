# one gz of CSV: unpacked, parsed, typed and staged, against unpacking alone
# shellcheck shell=bash
gz_path() { "$build/bench/path" "$data/orders.csv.gz"; }
gz_gzip() { gzip -dc "$data/orders.csv.gz" >/dev/null; }
gz_igzip() { igzip -dc "$data/orders.csv.gz" >/dev/null; }
gz_bsdcat() { bsdcat "$data/orders.csv.gz" >/dev/null; }
fetched() { # over HTTP, by a worker without loader; its own word how long the job took
    local i ms
    serve "$data" || return
    for i in $(seq "$repeat"); do
        new_site 1 >/dev/null
        qetlctl submit orders "$www/orders.csv.gz" >/dev/null
        : >"$work/log"
        timeout "$limit" qetl drain >>"$work/log" 2>&1
        ms=$(sqlite3 -readonly "$site/queue.db" "SELECT finished - started FROM attempt WHERE kind = 'work' AND outcome = 'staged'")
        [ -n "$ms" ] && [ "$(site_rows)" = "$rows" ] || { failed qetl "round $i: not loaded"; return; }
        figure 'gz over HTTP to staged' qetl qetl MB/s "$(awk -v b="$bytes" -v ms="$ms" 'BEGIN { print b / 1e3 / ms }')"
    done
}
case_gz() {
    rows=$(scaled 4000000)
    "$build/bench/gen" "$rows" >"$data/orders.csv"
    bytes=$(stat -c %s "$data/orders.csv")
    gzip -6 "$data/orders.csv"
    local mb
    mb=$(awk -v b="$bytes" 'BEGIN { print b / 1e6 }')
    contender qetl 'qetl, one thread: to a staged file' '' gz_path
    contender peer 'gzip -dc, bytes only' gzip gz_gzip
    contender peer 'bsdcat, bytes only' bsdcat gz_bsdcat
    contender peer 'igzip -dc, bytes only' igzip gz_igzip
    race 'gz to staged, MB of CSV' "$(part "$mb" 1)" MB/s
    fetched
}
