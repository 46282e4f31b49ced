# 1,000 files of 1 MB over HTTP, fetched
# shellcheck shell=bash
fetch_curl_before() { drop_peer; mkdir "$data/peer"; seq "$files" | sed "s|.*|url = \"$www/one\"\noutput = \"$data/peer/&\"|" >"$data/list"; }
fetch_curl() { curl -sS -Z --parallel-max 8 -K "$data/list"; }
fetch_aria2_before() { drop_peer; mkdir "$data/peer"; seq "$files" | sed "s|.*|$www/one\n  out=&|" >"$data/list"; }
fetch_aria2() { aria2c -q -j 8 --file-allocation=none -d "$data/peer" -i "$data/list"; }
fetch_rclone_before() { drop_peer; }
fetch_rclone() { rclone copy --config /dev/null --no-check-dest --transfers 8 --http-url "$www/many/" :http: "$data/peer"; }
fetch_count() { find "$data/peer" -type f -size 1024k | wc -l; }
fetch_curl_rows() { fetch_count; }
fetch_aria2_rows() { fetch_count; }
fetch_rclone_rows() { fetch_count; }

case_fetch() {
    local i
    files=$(scaled 1000)
    mkdir -p "$data/www/many"
    "$build/bench/gen" 20000 | head -c 1048576 >"$data/www/one"
    for i in $(seq "$files"); do ln "$data/www/one" "$data/www/many/$i"; done
    serve "$data/www" || return
    for i in $(seq "$repeat"); do
        "$build/bench/fetch" "$www/one" "$files" >"$work/log" 2>&1 || { failed qetl 'bench/fetch'; return; }
        figure '1 MB files over HTTP' qetl 'qetl, one connection, bytes thrown away' files/s "$(awk '$1 == "fetch" { print $2 }' "$work/log")"
        figure '1 MB files over HTTP' limit 'libcurl alone, the same' files/s "$(awk '$1 == "libcurl" { print $2 }' "$work/log")"
    done
    contender peer 'curl -Z, 8 at a time, to files' curl fetch_curl
    contender peer 'aria2c -j 8, to files' aria2c fetch_aria2
    contender peer 'rclone copy, 8 at a time, to files' rclone fetch_rclone
    race '1 MB files over HTTP' "$files" files/s $((files * 1048576))
}
