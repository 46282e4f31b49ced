# events appended to streams, by one emitter and eight, against redis streams and a file; two streams joined by after_load
# shellcheck shell=bash
stream_site() { # [LINE OF THE PIPELINES...]: two streams
    rm -rf "$site"
    mkdir -p "$site"
    {
        printf '%s\n' '[qetl]' "database = $site/queue.db" "spool = $site/spool" 'log_level = warn' '[worker]' 'slots = 2' '[target warehouse]' \
            "url = sqlite://$site/warehouse.db" '[limits]' 'stream = 0'
        for stream in 'orders integer amount:decimal(2)!' 'visits text page:text!'; do
            # shellcheck disable=SC2086
            set -- $stream "$@"
            printf '%s\n' "[pipeline $1]" "source = stream:$1" "columns = id:$2!, name:text!, $3, at:timestamp!" "table = warehouse.$1" \
                'mode = upsert' 'key = id' 'event_time = at' 'allowed_lateness = 10m'
            shift 3
            [ $# = 0 ] || printf '%s\n' "$@"
        done
    } >"$site/qetl.ini"
    qetlctl init
}
append_rows() { cat "$site"/spool/streams/orders/*.jsonl "$site"/spool/streams/orders/open/*.part 2>/dev/null | wc -l; }

emit_one_before() { stream_site; }
emit_one() { qetlctl emit orders <"$data/orders.jsonl"; }
emit_one_rows() { append_rows; }
emit_eight_before() { stream_site; split -n l/8 "$data/orders.jsonl" "$data/eighth-"; }
emit_eight() {
    local f
    for f in "$data"/eighth-*; do qetlctl emit orders <"$f" & done
    wait
}
emit_eight_rows() { append_rows; }
emit_eight_after() { rm -f "$data"/eighth-*; }
append_file_before() { rm -f "$data/appended"; }
append_file() { cat "$data/orders.jsonl" >>"$data/appended" && sync "$data/appended"; }
redis_empty() { redis-cli -p "$redis_port" DEL orders; }
xadd_before() {
    redis_empty
    head -n "$(part "$lines" "$1")" "$data/orders.jsonl" |
        awk '{ printf "*5\r\n$4\r\nXADD\r\n$6\r\norders\r\n$1\r\n*\r\n$1\r\ne\r\n$%d\r\n%s\r\n", length($0), $0 }' >"$data/xadd"
}
xadd() { redis-cli -p "$redis_port" --pipe <"$data/xadd"; }
xadd_rows() { redis-cli -p "$redis_port" XLEN orders; }
xadd_after() { rm -f "$data/xadd"; }

# a line, and only then the next one
ack_loop() { # COUNT
    local i to
    coproc emitter { qetlctl emit --ack orders; }
    for ((i = 0; i < $1; i++)); do
        echo '{"id":1,"name":"u1","amount":1.50,"at":"2024-01-01T00:00:00Z"}' >&"${emitter[1]}"
        read -r _ <&"${emitter[0]}"
    done
    to=${emitter[1]}
    exec {to}>&-
    wait "$emitter_PID"
}
emit_ack_before() { stream_site; }
emit_ack() { ack_loop "$(part "$singles" "$1")"; }
emit_ack_rows() { append_rows; }
emit_ack8_before() { stream_site; }
emit_ack8() {
    for _ in 1 2 3 4 5 6 7 8; do ack_loop $((singles / 8)) 2>/dev/null & done
    wait
}
emit_ack8_rows() { append_rows; }
xadd_loop() {
    local i
    exec 3<>"/dev/tcp/127.0.0.1/$redis_port"
    for ((i = 0; i < $1; i++)); do
        printf 'XADD orders * e 123456789012345678901234567890123456789012345678901234567890\r\n' >&3
        read -r _ <&3
        read -r _ <&3
    done
    exec 3<&-
}
xadd_single_before() { redis_empty; }
xadd_single() { xadd_loop "$(part "$singles" "$1")"; }
xadd_single_rows() { xadd_rows; }
xadd_eight_before() { redis_empty; }
xadd_eight() {
    for _ in 1 2 3 4 5 6 7 8; do xadd_loop $((singles / 8)) & done
    wait
}
xadd_eight_rows() { xadd_rows; }
dsync_file_before() { rm -f "$data/appended"; }
dsync_file() { dd if=/dev/zero of="$data/appended" bs=66 count="$singles" oflag=append,dsync conv=notrunc status=none; }

fill_streams() { for s in orders visits; do qetlctl emit --flush "$s" <"$data/$s.jsonl"; done; }
scan_drain() { qetl drain --scan; }
join_before() {
    stream_site "after_load = @file:$top/examples/stream-join/join.sql"
    sqlite3 "$site/warehouse.db" <"$top/examples/stream-join/tables.sql"
    fill_streams
}
join() { scan_drain; }
join_rows() { sqlite3 -readonly "$site/warehouse.db" 'SELECT 2 * count(*) + 2 FROM user_orders'; }
no_join_before() {
    stream_site
    sqlite3 "$site/warehouse.db" <"$top/examples/stream-join/tables.sql"
    fill_streams
}
no_join() { scan_drain; }
no_join_rows() { sqlite3 -readonly "$site/warehouse.db" 'SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM visits)'; }
duck_join_before() { drop_peer; }
duck_join() {
    duck 2 "CREATE TABLE orders AS SELECT * FROM read_json('$data/orders.jsonl', columns={'id':'BIGINT','name':'VARCHAR','amount':'DOUBLE','at':'TIMESTAMP'});
        CREATE TABLE visits AS SELECT * FROM read_json('$data/visits.jsonl', columns={'id':'VARCHAR','name':'VARCHAR','page':'VARCHAR','at':'TIMESTAMP'});
        CREATE TABLE user_orders AS SELECT o.*, v.page, v.at AS visited FROM orders o ASOF LEFT JOIN visits v ON o.name = v.name AND o.at >= v.at"
}
duck_join_rows() { duck 2 'SELECT 2 * count(*) FROM user_orders'; }

case_join() {
    lines=$(scaled 2000000) singles=$(($(scaled 20000) / 8 * 8 + 8))
    awk -v n="$lines" -v dir="$data" 'BEGIN {
        for (i = 1; i <= n; i++) {
            at = sprintf("2024-%02d-%02dT%02d:%02d:%02dZ", 1 + int(i / 2332800), 1 + int(i / 86400) % 27, int(i / 3600) % 24, int(i / 60) % 60, i % 60)
            if (i == n) at = "2025-01-01T00:00:00Z"
            printf "{\"id\":%d,\"name\":\"u%d\",\"amount\":%d.%02d,\"at\":\"%s\"}\n", i, i * 7 % 5003, i % 900, i % 100, at >(dir "/orders.jsonl")
            printf "{\"id\":\"v%d\",\"name\":\"u%d\",\"page\":\"/p/%d\",\"at\":\"%s\"}\n", i, i * 11 % 5003, i % 1000, at >(dir "/visits.jsonl")
        } }'
    ! usable peer redis 'redis-server redis-cli' || serve_redis always || return
    contender qetl 'qetlctl emit' '' emit_one
    contender qetl 'qetlctl emit, 8 at once' '' emit_eight
    contender peer 'redis XADD, appendfsync always, pipelined' 'redis-server redis-cli' xadd 0.2
    contender limit 'cat >> file, one sync' '' append_file
    race 'lines appended to a stream, on disk at the end' "$lines" lines/s "$(stat -c %s "$data/orders.jsonl")"
    contender qetl 'qetlctl emit --ack' '' emit_ack
    contender peer 'redis XADD, appendfsync always' 'redis-server redis-cli' xadd_single
    contender limit 'dd oflag=append,dsync' '' dsync_file
    race 'lines appended, each on disk before the next' "$singles" lines/s
    contender qetl 'qetlctl emit --ack, 8 at once' '' emit_ack8
    contender peer 'redis XADD, appendfsync always, 8 at once' 'redis-server redis-cli' xadd_eight
    race 'the same by eight' "$singles" lines/s
    contender qetl 'qetl, the join of examples/stream-join' '' join
    contender qetl 'qetl, without after_load' '' no_join
    contender peer 'DuckDB, ASOF JOIN of all, no upsert' py:duckdb duck_join
    race 'two streams upserted and joined, events' $((2 * lines)) rows/s
}
