#!/bin/bash
# A bucket of a store that others wrote: pages, odd keys, versions, and what after= does there.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need curl curl
curl --help all | grep aws-sigv4 >/dev/null || skip_all 'this curl cannot sign'
grep -q '^#define HAVE_S3 1' "$builddir/config.h" || skip_all 'built without s3'
start_service moto

many=1100 # objects: two pages
signed() { curl -sS --fail --aws-sigv4 aws:amz:us-east-1:s3 -u key:secret "$@"; }
put() { # KEY, encoded, and VALUE
    printf 'id\n%s\n' "$2" >"$work/body"
    signed -o "$work/answer" -T "$work/body" "$MOTO/bucket/$1"
}
value() { signed "$MOTO/bucket/$1" | tail -1; }
keys() { signed "$MOTO/bucket?list-type=2&prefix=$1" | grep -o '<Key>[^<]*' | cut -c6- | sort | tr '\n' ' '; }
keys_are() { [ "$(keys "$1")" = "$2" ]; }
site() { # SOURCE LINES
    new_site <<INI
[remote store]
url = s3://bucket
endpoint = $MOTO
access_key = key
secret_key = secret
[pipeline p]
source  = $1
every   = 1h
settle  = 0
on_change = reload
columns = id:integer!
table   = warehouse.p
$2
INI
}
signed -o "$work/answer" -X PUT "$MOTO/bucket" || bail "no bucket: $(cat "$work/answer")"
seq "$many" | awk -v m="$MOTO" '{ printf "upload-file = \"/dev/null\"\nurl = \"%s/bucket/many/%06d.csv\"\noutput = \"/dev/null\"\n", m, $1 }' >"$work/puts"
signed -K "$work/puts" || bail 'the objects cannot be put'

site 's3://bucket/many/*.csv' ''
ok 'a list of two pages' qetlctl scan p
is 'gives each object once' "$(queue_sql 'SELECT count(*), count(DISTINCT objects) FROM job_text')" "$many|$many"
ok 'again' qetlctl scan p
is 'and knows them, by size, time and ETag' "$(queue_sql 'SELECT listed, found, changed FROM scan')" "$many|0|0"

site 's3://bucket/in/{region}/*.csv' 'after = move:s3://bucket/done'
put 'in/a%20b%27%22%25%2B/1.csv' 1
put 'in/caf%C3%A9/2.csv' 2
put 'out/north/9.csv' 9
start_role all
ok 'objects are loaded, whatever their keys' wait_for 60 rows_are 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)' 1,2
ok 'and moved behind the commit' wait_for 60 keys_are in/ ''
is 'to where they should be' "$(keys done/)" 'done/1.csv done/2.csv '
put 'in/north/1.csv' 3
qetlctl scan p >"$work/out" 2>&1
ok 'another one of that name is loaded' wait_for 60 rows_are 'SELECT count(*) FROM p' 3
ok 'and moved, over nothing' wait_for 60 keys_are done/ 'done/1.csv done/1.csv.3 done/2.csv '
is 'each as it was' "$(value done/1.csv) $(value done/1.csv.3)" '1 3'
stop_roles

site 's3://bucket/out/**.csv' ''
sed -i 's/^after .*//' "$site/qetl.ini"
qetl drain --scan --max-wait 30s 2>"$work/drain"
put 'out/north/9.csv' 10
qetl drain --scan --max-wait 30s 2>"$work/drain"
is 'another version is another object' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)')" 9,10
done_testing
