#!/bin/bash
# PostgreSQL behind pgbouncer, which gives each transaction another connection of the server: nothing may be kept in a session.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
. "$srcdir/tests/server.sh"
grep -q '^#define HAVE_LIBPQ 1' "$builddir/config.h" || skip_all 'built without PostgreSQL'
# shellcheck disable=SC2034 # of server.sh
service=postgres t=pg yes=t no=f
start_service $service
export PGPASSWORD PGHOST PGPORT
start_service pgbouncer

pg() { psql -qXAt -h "$PGHOST" -p "$PGPORT" -U "$PGUSER" -d "$PGDATABASE" -c "$1" 2>&1; }
say() { pg "$1"; }
ask() { pg "$1" | xargs -d '\n'; }
say "ALTER ROLE $PGUSER SET default_transaction_isolation = 'serializable'" >/dev/null
umask 077
printf 'secret\n' >"$work/password"
new_site <<INI
[remote pg]
url = postgresql://127.0.0.1:$POOLPORT/
password = @file:$work/password
[target pg]
url = $POOLURL
$(server_pipelines)
[pipeline spread]
columns = id:integer!, n:integer
table = pg.spread
after_load = INSERT INTO backends SELECT pg_backend_pid(), current_setting('transaction_isolation')
INI
ok 'the targets are made behind a pooler' qetlctl init
like '... and doctor finds them good' "$(qetlctl doctor | grep 'target pg')" 'yes .*its ledger written'
large_is_loaded
modes_are_right
after_load_is_inside
after_load_has_watermarks
after_load_takes_the_job
appends_are_undone
is 'a question is answered' "$(qetlctl query pg 'SELECT count(*) FROM people' --csv | xargs)" 'count 5'
csv id,n 1,1
load once
{ echo id,n; seq 20000 | sed 's/$/,1/'; } >"$work/in.csv"
loaders_share
say 'CREATE TABLE backends (pid integer, level text)' >/dev/null
csv id,n 1,1
spread() { for _ in $(seq 20); do load spread; [ "$(ask 'SELECT count(DISTINCT pid) > 1 FROM backends')" != t ] || return 0; done; }
spread
is 'transactions are spread over connections' "$end $(ask 'SELECT count(DISTINCT pid) > 1 FROM backends')" 'loaded 1 0 0 0 0 t'
is '... each of them at read committed, whatever the role has' "$(ask 'SELECT DISTINCT level FROM backends')" 'read committed'
done_testing
