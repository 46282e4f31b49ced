# 100,000 files of 1 KB: what a job costs, not a byte
# shellcheck shell=bash
tiny_file_before() { new_site 2; submit_numbered "$files" "file://$data/tiny/#.csv"; }
tiny_file() { drain; }
tiny_rows() { awk -v n="$(site_rows)" -v each="$each" 'BEGIN { print n / each }'; }
tiny_file_rows() { tiny_rows; }
tiny_http_before() { new_site 2; submit_numbered "$files" "$www/#.csv"; }
tiny_http() { drain; }
tiny_http_rows() { tiny_rows; }

peer_files() { awk -v n="$(peer_rows)" -v each="$each" 'BEGIN { print n / each }'; }
tiny_import_before() { drop_peer; peer_table; }
tiny_import() { # a process and a transaction a file, as a script would
    seq "$(part "$files" "$1")" | xargs -P 2 -I{} sqlite3 -cmd '.timeout 60000' "$data/peer.db" ".import --csv --skip 1 $data/tiny/{}.csv orders"
}
tiny_import_rows() { peer_files; }
tiny_curl_before() { drop_peer; peer_table; }
tiny_curl() {
    # shellcheck disable=SC2016
    seq "$(part "$files" "$1")" | xargs -P 2 -I{} bash -c 'curl -sS -o "$data/one-$1" "$www/$1.csv" &&
        sqlite3 -cmd ".timeout 60000" "$data/peer.db" ".import --csv --skip 1 $data/one-$1 orders" && rm "$data/one-$1"' - {}
}
tiny_curl_rows() { peer_files; }
tiny_curl_after() { rm -f "$data"/one-*; drop_peer; }

case_tiny() {
    each=10 files=$(scaled 100000)
    mkdir -p "$data/tiny"
    "$build/bench/gen" $((files * each)) | awk -v each="$each" -v dir="$data/tiny/" 'NR == 1 { head = $0; next }
        (NR - 2) % each == 0 { if (f) close(f); f = dir (++n) ".csv"; print head >f } { print >f }'
    contender qetl qetl '' tiny_file
    contender peer 'xargs -P2 sqlite3 .import' sqlite3 tiny_import 0.05
    race 'local files of 10 rows to committed' "$files" jobs/s
    serve "$data/tiny" || return
    contender qetl qetl '' tiny_http
    contender peer 'xargs -P2 (curl, .import)' 'curl sqlite3' tiny_curl 0.05
    race 'HTTP files of 10 rows to committed' "$files" jobs/s
}
