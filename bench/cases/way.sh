# 1,000 tar.gz of 1 MB of CSV over HTTP into one SQLite table, 2 workers
# shellcheck shell=bash
make_archives() { # COUNT ROWS: $data/www/N.tar.gz, made two at a time
    mkdir -p "$data/www"
    # shellcheck disable=SC2016
    seq "$1" | xargs -P "$(nproc)" -I{} bash -c '"$build/bench/gen" "$2" $((1 + ($1 - 1) * $2)) >"$data/orders-$1.csv" &&
        tar -C "$data" -czf "$data/www/$1.tar.gz" "orders-$1.csv" && rm "$data/orders-$1.csv"' - {} "$2"
}
urls() { seq "$1" | sed "s|.*|$www/&.tar.gz|"; }

way_qetl_before() { new_site 2; submit_numbered "$files" "$www/#.tar.gz"; }
way_qetl() { drain; }
way_qetl_rows() { site_rows; }

download() { # COUNT: by one curl with many transfers, into $data/peer
    mkdir "$data/peer"
    urls "$1" | sed 's|.*|url = "&"\nremote-name|' >"$data/peer/list"
    (cd "$data/peer" && curl -sS -Z --parallel-max 8 -K list)
}
way_duckdb_before() { drop_peer; }
way_duckdb() {
    download "$files"
    for i in $(seq "$files"); do tar -C "$data/peer" -xzf "$data/peer/$i.tar.gz"; done
    duck_table "$data/peer/*.csv"
}
way_duckdb_rows() { duck_rows; }
way_duckdb_after() { drop_peer; }

unpacked_by() { # PROGRAM COUNT
    urls "$2" | sed 's|.*|url = "&"|' | curl -sS -K - | "$1" -dc | tar -xOf - --ignore-zeros | grep -v '^id,customer'
}
way_shell_before() { drop_peer; peer_table; }
way_shell() { import_pipe unpacked_by igzip "$(part "$files" "$1")"; }
way_shell_rows() { peer_rows; }
way_shell_after() { drop_peer; }
way_gzip_before() { drop_peer; peer_table; }
way_gzip() { import_pipe unpacked_by gzip "$(part "$files" "$1")"; }
way_gzip_rows() { peer_rows; }
way_gzip_after() { drop_peer; }

way_xargs_before() { drop_peer; peer_table; }
way_xargs() {
    # shellcheck disable=SC2016
    urls "$(part "$files" "$1")" | xargs -P 2 -I{} bash -c 'set -o pipefail; curl -sS "$1" | bsdtar -xOf - >"$data/one-$$" &&
        sqlite3 -cmd ".timeout 60000" "$data/peer.db" ".import --csv --skip 1 $data/one-$$ orders" && rm "$data/one-$$"' - {}
}
way_xargs_rows() { peer_rows; }
way_xargs_after() { rm -f "$data"/one-*; drop_peer; }

way_rq_before() { drop_peer; peer_table; redis-cli -p "$redis_port" flushall; }
way_rq() { run_python rq rq_run.py "$redis_port" 2 load "$(part "$files" "$1")" "$www" "$data/peer.db"; }
way_rq_rows() { peer_rows; }
way_rq_after() { drop_peer; }
way_celery_before() { drop_peer; peer_table; redis-cli -p "$redis_port" flushall; }
way_celery() { run_python celery celery_run.py "$redis_port" 2 load "$(part "$files" "$1")" "$www" "$data/peer.db"; }
way_celery_rows() { peer_rows; }
way_celery_after() { drop_peer; }

case_way() {
    local each=10000 bytes
    files=$(scaled 1000)
    make_archives "$files" $each
    bytes=$(($("$build/bench/gen" $each | wc -c) * files))
    serve "$data/www" || return
    redis_port=''
    ! usable peer 'RQ, Celery on Redis' 'redis-server redis-cli' || serve_redis everysec
    contender qetl qetl '' way_qetl
    contender peer 'curl -Z, tar, DuckDB' 'curl tar py:duckdb' way_duckdb
    contender peer 'curl | igzip | tar | .import' 'curl igzip tar sqlite3' way_shell
    contender peer 'curl | gzip | tar | .import' 'curl gzip tar sqlite3' way_gzip 0.5
    contender peer 'xargs -P2 (curl | bsdtar, .import)' 'curl bsdtar sqlite3' way_xargs 0.5
    if [ -n "$redis_port" ]; then
        contender peer 'RQ, 2 workers, executemany' 'py:rq' way_rq 0.2
        contender peer 'Celery, 2 workers, executemany' 'py:celery py:redis' way_celery 0.2
    fi
    contender limit 'cp and fsync of the warehouse' '' copy_result
    race 'archives over HTTP to committed rows' $((files * each)) rows/s "$bytes"
}
