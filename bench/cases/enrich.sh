# rows enriched over HTTP: 20,000 keys of a server that takes 20 ms, 64 at a time; then 1,000,000 rows from the cache
# shellcheck shell=bash
enrich_ini() { # ROWS KEYS: data and ini
    awk -v n="$1" -v k="$2" 'BEGIN { print "id,k"; for (i = 0; i < n; i++) print i ",key-" (i % k) }' >"$data/keys.csv"
    rm -rf "$site"
    mkdir -p "$site"
    cat >"$site/qetl.ini" <<INI
[qetl]
database = $site/queue.db
spool = $site/spool
log_level = warn
[worker]
slots = 1
[target warehouse]
url = sqlite://$site/warehouse.db
[enrich facts]
url = http://127.0.0.1:$enrich_port/{k}
columns = title:text from name, city:text from at.city
connections = 64
[pipeline orders]
columns = id:integer!, k:text
enrich = facts
table = warehouse.orders
INI
    export QETL_CONFIG=$site/qetl.ini
}
enrich_site() { # fresh but for the cache
    rm -rf "$site"/queue.db "$site"/queue.db-[!e]* "$site/spool" "$site"/warehouse.db*
    qetlctl init
    qetlctl submit orders "$data/keys.csv"
}
enrich_qetl_before() { rm -f "$site"/queue.db-enrich*; enrich_site; }
enrich_qetl() { drain; }
enrich_qetl_rows() { site_rows; }
enrich_cached_before() { enrich_site; }
enrich_cached() { drain; }
enrich_cached_rows() { site_rows; }

enrich_urls() { awk -F, -v p="$enrich_port" 'NR > 1 { print "url = http://127.0.0.1:" p "/" $2 "\noutput = /dev/null" }' "$data/keys.csv" >"$data/urls"; }
enrich_curl() { curl -sS -Z --parallel-max 64 -K "$data/urls"; }
enrich_python_before() { drop_peer; }
enrich_python() { run_python asyncio ask_many.py "$data/keys.csv" "$enrich_port" 64 "$data/peer.db"; }
enrich_python_rows() { peer_rows; }
enrich_join_before() {
    drop_peer
    sqlite3 "$data/peer.db" 'CREATE TABLE answer (k TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID' \
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < $enrich_keys - 1) INSERT INTO answer
         SELECT 'key-' || i, '{\"name\":\"a name of some length\",\"at\":{\"city\":\"a city\"},\"n\":12345}' FROM n"
}
enrich_join() {
    sqlite3 "$data/peer.db" '.mode csv' 'CREATE TABLE raw (id INTEGER, k TEXT)' ".import --skip 1 $data/keys.csv raw" \
        "CREATE TABLE orders AS SELECT raw.id, raw.k, body ->> '\$.name' AS title, body ->> '\$.at.city' AS city FROM raw JOIN answer USING (k)"
}
enrich_join_rows() { peer_rows; }
enrich_plain_before() { sed -i '/^enrich = /d' "$site/qetl.ini"; enrich_site; }
enrich_plain() { drain; }
enrich_plain_rows() { site_rows; }
enrich_plain_after() { sed -i 's/^table = /enrich = facts\n&/' "$site/qetl.ini"; }

case_enrich() {
    local n
    enrich_port=$(free_port)
    export enrich_port enrich_keys
    python3 "$top/bench/peers/slow_http.py" "$enrich_port" 20 &
    started $! curl -sf "http://127.0.0.1:$enrich_port/" || return
    n=$(scaled 20000)
    enrich_keys=$n
    enrich_ini "$n" "$n"
    enrich_urls
    contender qetl 'qetl, to committed rows' '' enrich_qetl
    contender peer 'curl -Z, answers thrown away' curl enrich_curl
    contender peer 'Python asyncio, executemany' py:asyncio enrich_python
    race 'keys asked for, 20 ms each, 64 at a time' "$n" keys/s
    for _ in $(seq "$repeat"); do
        figure 'keys asked for, 20 ms each, 64 at a time' limit '64 connections by 20 ms' keys/s 3200
    done
    n=$(scaled 1000000)
    enrich_keys=$(scaled 100000)
    enrich_ini "$n" "$enrich_keys"
    strictly enrich_cached_before >"$work/log" 2>&1
    drain >>"$work/log" 2>&1 || { failed qetl 'filling the cache'; return; }
    contender qetl 'qetl, all keys in the cache' '' enrich_cached
    contender qetl 'qetl, the same rows without' '' enrich_plain
    contender peer 'sqlite3 .import, JOIN with the answers' sqlite3 enrich_join
    race 'rows from the cache' "$n" rows/s
}
