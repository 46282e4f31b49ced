# 1,000 tar.gz of 1 MB of CSV over HTTP into one PostgreSQL table, 2 workers
# shellcheck shell=bash
. "$top/bench/cases/postgres.sh"
. "$top/bench/cases/way.sh"

pgway_before() { pg_table orders; pg_site 2 "$loaders"; submit_numbered "$files" "$www/#.tar.gz"; }
pgway_one_before() { loaders=1 pgway_before; }
pgway_one() { drain; }
pgway_one_rows() { pg_rows orders; }
pgway_two_before() { loaders=2 pgway_before; }
pgway_two() { drain; }
pgway_two_rows() { pg_rows orders; }
pgway_xargs_before() { pg_table orders; }
pgway_xargs() {
    # shellcheck disable=SC2016
    urls "$(part "$files" "$1")" | xargs -P 2 -I{} bash -c 'set -o pipefail; curl -sS "$1" | tar -xzOf - |
        psql -qX -c "\copy orders FROM PSTDIN (FORMAT csv, HEADER true)"' - {}
}
pgway_xargs_rows() { pg_rows orders; }
pgway_pipe_before() { pg_table orders; }
pgway_pipe() { unpacked_by igzip "$(part "$files" "$1")" | psql -qX -c '\copy orders FROM PSTDIN (FORMAT csv)'; }
pgway_pipe_rows() { pg_rows orders; }

case_pgway() {
    local each=10000 bytes
    usable qetl PostgreSQL 'initdb psql setpriv' || return 0
    files=$(scaled 1000)
    make_archives "$files" $each
    bytes=$(($("$build/bench/gen" $each | wc -c) * files))
    serve "$data/www" || return
    serve_postgres || return
    pg_site 1 1 >/dev/null 2>&1 || : # makes the ledger
    contender qetl 'qetl, one loader' '' pgway_one
    contender qetl 'qetl, two loaders' '' pgway_two
    contender peer 'xargs -P2 (curl | tar | psql \copy)' 'curl tar' pgway_xargs 0.5
    contender peer 'curl | igzip | tar | psql \copy' 'curl igzip tar' pgway_pipe
    race 'archives over HTTP to committed rows of PostgreSQL' $((files * each)) rows/s "$bytes"
}
