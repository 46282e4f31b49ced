# 1,000,000 rows upserted into 10,000,000 by an integer key, sorted and shuffled, half of them new
# shellcheck shell=bash
#
# All start from the same table, copied back for each run, and from the same CSV.
upsert_qetl_before() {
    rm -rf "$site"
    cp -r "$data/base" "$site"
    qetlctl submit orders "$data/$order.csv"
}
upsert_qetl() { drain; }
upsert_qetl_rows() { more_rows "$site/warehouse.db"; }
more_rows() { sqlite3 -readonly "$1" "SELECT sum(note = 'new row') FROM orders"; } # of this upsert, old keys and new
upsert_peer_before() { drop_peer; cp "$data/base.db" "$data/peer.db"; }
upsert_peer() { upsert_sql ''; }
upsert_sorted() { upsert_sql 'ORDER BY id'; }
upsert_sql() { # ORDER
    sqlite3 "$data/peer.db" 'PRAGMA cache_size=-65536' "CREATE TEMP TABLE more($types)" ".import --csv --skip 1 $data/$order.csv more" \
        "INSERT INTO orders SELECT * FROM more WHERE true $1 ON CONFLICT(id) DO UPDATE SET customer = excluded.customer,
            quantity = excluded.quantity, price = excluded.price, weight = excluded.weight, placed = excluded.placed,
            city = excluded.city, note = excluded.note, sku = excluded.sku, channel = excluded.channel"
}
upsert_peer_rows() { more_rows "$data/peer.db"; }
upsert_peer_after() { drop_peer; }
upsert_sorted_before() { upsert_peer_before; }
upsert_sorted_rows() { upsert_peer_rows; }
upsert_sorted_after() { drop_peer; }

# Keys far apart: ID becomes ID * STEP; the note tells the rows of the upsert.
spread() { awk -F , -v OFS=, -v step="$1" -v note="$2" 'NR == 1 { print; next } { $1 *= step; if (note != "") $0 = $1 "," $2 "," $3 "," $4 "," $5 "," $6 "," $7 "," note ",s,web"; print }'; }

case_upsert() {
    local base
    base=$(scaled 10000000) rows=$(scaled 1000000)
    "$build/bench/gen" "$base" | spread 2 '' >"$data/base.csv"
    "$build/bench/gen" "$rows" | spread 19 'new row' >"$data/sorted.csv"
    { head -n 1 "$data/sorted.csv"; tail -n +2 "$data/sorted.csv" | sort -t , -k 2,2n; } >"$data/shuffled.csv"
    new_site 2 'mode = upsert' 'key = id' >"$work/log" 2>&1
    qetlctl submit orders "$data/base.csv" >>"$work/log" 2>&1
    qetl drain >>"$work/log" 2>&1
    [ "$(site_rows)" = "$base" ] || { failed qetl 'the table to upsert into was not loaded'; return; }
    mv "$site" "$data/base"
    sqlite3 "$data/base.db" "CREATE TABLE orders(${types/id INTEGER/id INTEGER PRIMARY KEY})" ".import --csv --skip 1 $data/base.csv orders"
    rm "$data/base.csv"
    for order in sorted shuffled; do
        contender qetl qetl '' upsert_qetl
        contender peer 'sqlite3: .import, INSERT ON CONFLICT' sqlite3 upsert_peer
        [ $order = sorted ] || contender peer 'sqlite3: the same, ORDER BY key' sqlite3 upsert_sorted
        race "CSV, $order keys, upserted" "$rows" rows/s
    done
}
