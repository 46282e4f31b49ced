# a folder of 100,000 files: new and known objects, and from a file's rename to its row
# shellcheck shell=bash
case_scan() {
    local n
    n=$(scaled 100000)
    mkdir -p "$data/in" "$site"
    awk -v n="$n" -v d="$data/in" 'BEGIN { for (i = 0; i < n; i++) print d "/" int(i / 1000) "/r-" i ".csv" }' >"$data/names"
    sed 's|/[^/]*$||' "$data/names" | sort -u | xargs mkdir -p
    xargs touch <"$data/names"
    cat >"$site/qetl.ini" <<INI
[qetl]
database = $site/queue.db
spool = $site/spool
log_level = warn
[target w]
url = sqlite://$site/w.db
readers = many
[pipeline p]
source = $data/in/**/{kind}-*.csv
every = 1h
settle = 0
columns = id:integer!
table = w.p
[pipeline watched]
source = $data/watched/*.csv
every = 1h
columns = id:integer!
table = w.watched
INI
    export QETL_CONFIG=$site/qetl.ini
    export scan_known
    for scan_known in no yes; do
        contender qetl qetl '' scan_qetl
        contender peer 'find | sqlite3 insert or ignore' 'sqlite3' scan_sqlite
        contender limit 'find -printf' '' scan_find
        case $scan_known in no) race 'new objects, each a job' "$n" objects/s ;; *) race 'known objects' "$n" objects/s ;; esac
    done
    scan_delay
}
scan_empty() { rm -f "$site"/queue.db* "$data"/seen.db*; }
scan_qetl_before() { [ "$scan_known" = yes ] || scan_empty; [ "$scan_known" = no ] || qetlctl scan p; }
scan_qetl() { qetlctl scan p; }
scan_qetl_rows() { sqlite3 -readonly "$site/queue.db" 'SELECT count(*) FROM job'; }
scan_find() { find "$data/in" -type f -printf '%p|%s|%T@\n' >"$data/found"; }
scan_sqlite_before() {
    [ "$scan_known" = yes ] || rm -f "$data/seen.db"
    sqlite3 "$data/seen.db" 'CREATE TABLE IF NOT EXISTS seen (uri TEXT PRIMARY KEY, size, mtime) WITHOUT ROWID'
    [ "$scan_known" = no ] || scan_sqlite
}
scan_sqlite() {
    scan_find
    sqlite3 "$data/seen.db" 'CREATE TEMP TABLE found (uri, size, mtime)' ".import $data/found found" \
        'INSERT OR IGNORE INTO seen SELECT * FROM found'
}
scan_sqlite_rows() { sqlite3 "$data/seen.db" 'SELECT count(*) FROM seen'; }

# From the rename of a file into a watched folder to its row in the warehouse, as a reader of it sees.
scan_delay() {
    local pid what value
    scan_empty
    rm -rf "$data/in"
    mkdir -p "$data/in" "$data/watched"
    qetl all 2>"$work/log" &
    pid=$!
    python3 - "$data/watched" "$site/w.db" >"$work/lines" <<'PY' || failed qetl 'the delay of a rename'
import os, sqlite3, sys, time
folder, db = sys.argv[1:]
def put(i):
    with open(f"{folder}/.{i}", "w") as f:
        f.write(f"id\n{i}\n")
    begin = time.monotonic()
    os.rename(f"{folder}/.{i}", f"{folder}/{i}.csv")
    return begin
put(0)
end = time.monotonic() + 60
while True:
    try:
        c = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
        if c.execute("SELECT 1 FROM watched").fetchone():
            break
    except sqlite3.Error:
        pass
    if time.monotonic() > end:
        sys.exit("nothing was loaded")
    time.sleep(0.01)
took = []
for i in range(1, 201):
    begin = put(i)
    while not c.execute("SELECT 1 FROM watched WHERE id = ?", (i,)).fetchone():
        time.sleep(0.0002)
    took.append((time.monotonic() - begin) * 1000)
took.sort()
print("p50\t%.2f\np99\t%.2f" % (took[100], took[198]))
PY
    kill "$pid"
    wait "$pid"
    while IFS=$'\t' read -r what value; do figure "rename to row, $what" qetl qetl ms "$value"; done <"$work/lines"
}
