# CSV and JSON lines split and typed on one core, against DuckDB with one thread, Python, jq
# shellcheck shell=bash
parse_duck_csv() { duck_count "read_csv('$data/rows.csv', $duck_types)"; }
parse_duck_json() {
    duck_count "read_json('$data/rows.jsonl', format='newline_delimited',
        columns={id:'BIGINT', ts:'TIMESTAMP', customer:'STRUCT(id BIGINT, \"name\" VARCHAR)', items:'STRUCT(price DECIMAL(18,2))[]', status:'VARCHAR', note:'VARCHAR', gift:'BOOLEAN'})"
}
duck_count() { # RELATION: every column is read, typed and looked at, nothing is kept; the time without the start of Python
    "$(python_for duckdb)" -c 'import sys, time, duckdb
c = duckdb.connect(config={"threads": 1})
columns = [d[0] for d in c.execute("DESCRIBE SELECT * FROM " + sys.argv[1]).fetchall()]
start = time.monotonic()
c.execute("SELECT " + ", ".join(f"count({n})" for n in columns) + " FROM " + sys.argv[1]).fetchall()
print(time.monotonic() - start)' "$1" >"$data/seconds"
}
parse_python_csv() { "$(python_for csv)" -c 'import csv, sys
for r in csv.reader(open(sys.argv[1], newline="")): pass' "$data/rows.csv"; }
parse_python_json() { "$(python_for json)" -c 'import json, sys
for line in open(sys.argv[1], "rb"): json.loads(line)' "$data/rows.jsonl"; }
parse_jq() { jq -c '[.id, .ts, .customer.id, .customer.name, .items[0].price, .status, .note, .gift]' "$data/rows.jsonl" >/dev/null; }
megabytes() { awk -v b="$(stat -c %s "$1")" 'BEGIN { printf "%d", b / 1e6 }'; }

case_parse() {
    local memory
    "$build/bench/gen" "$(scaled 5000000)" >"$data/rows.csv"
    "$build/bench/json" "$(part 400 "$scale")" print >"$data/rows.jsonl"
    for _ in $(seq "$repeat"); do
        memory=$("$build/bench/limits" "$data" | awk -F '\t' '/^memory/ { print $2 }')
        "$build/bench/cast" 0.5 >"$work/lines" 2>"$work/log" || { failed qetl 'bench/cast'; return; }
        figure 'CSV split and typed' qetl 'qetl, one core' MB/s "$(awk '$1 == "CSV" { print $(NF - 1) * 1000 }' "$work/lines")"
        figure 'CSV split and typed' limit 'memory, memcpy on one core' MB/s "$memory"
        "$build/bench/csv" 4 >"$work/lines" 2>"$work/log" || { failed qetl 'bench/csv'; return; }
        figure 'CSV split only' qetl 'qetl, one core' MB/s "$(awk '$2 == "batches" && $4 > best { best = $4 } END { print best }' "$work/lines")"
        figure 'CSV split only' limit 'memory, memcpy on one core' MB/s "$memory"
        "$build/bench/json" 16 >"$work/lines" 2>"$work/log" || { failed qetl 'bench/json'; return; }
        figure 'JSON lines, nested, typed' qetl 'qetl, one core' MB/s "$(awk '$2 == "typed" { print $3; exit }' "$work/lines")"
        figure 'JSON lines, nested, typed' limit 'memory, memcpy on one core' MB/s "$memory"
    done
    contender peer 'DuckDB, 1 thread' py:duckdb parse_duck_csv
    race 'CSV split and typed' "$(megabytes "$data/rows.csv")" MB/s
    contender peer 'Python csv, no types' py:csv parse_python_csv
    race 'CSV split only' "$(megabytes "$data/rows.csv")" MB/s
    contender peer 'DuckDB, 1 thread' py:duckdb parse_duck_json
    contender peer 'Python json' py:json parse_python_json
    contender peer jq jq parse_jq
    race 'JSON lines, nested, typed' "$(megabytes "$data/rows.jsonl")" MB/s
}
