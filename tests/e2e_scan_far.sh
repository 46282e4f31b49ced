#!/bin/bash
# Listings of places that are far away: they fail in the middle, go on there, wait where the place wants to be left alone,
# and outlive a server that is started again.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need python3 python3
grep -q '^#define HAVE_S3 1' "$builddir/config.h" || skip_all 'built without s3'
start_service s3

lists() { grep -c '^GET /bucket?' "$S3_LOG"; } # requests for a page
site() { # LINES of the pipeline, and of its remote
    new_site <<INI
$(s3_remote)
${2-}
[pipeline p]
source  = s3://bucket/in/{name}.csv
every   = 1h
settle  = 0
attempts = 20
backoff = 200ms
columns = id:integer!
table   = warehouse.p
${1-}
INI
    : >"$S3_LOG"
}
export S3_ACCESS S3_SECRET
put() { # NAME TEXT
    python3 - "$S3" "$S3_REGION" "in/$1" "$2" <<'PY'
import datetime, hashlib, hmac, os, sys, urllib.parse, urllib.request
end, region, key, body = sys.argv[1], sys.argv[2], os.fsencode(sys.argv[3]), sys.argv[4].encode()
host, path = end.split("//")[1], "/bucket/" + urllib.parse.quote(key)
now = datetime.datetime.now(datetime.timezone.utc)
stamp, day, digest = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d"), hashlib.sha256(body).hexdigest()
head = f"host:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{stamp}\n"
names, scope = "host;x-amz-content-sha256;x-amz-date", f"{day}/{region}/s3/aws4_request"
request = f"PUT\n{path}\n\n{head}\n{names}\n{digest}"
sign = "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hashlib.sha256(request.encode()).hexdigest()
k = ("AWS4" + os.environ["S3_SECRET"]).encode()
for part in (day, region, "s3", "aws4_request", sign):
    k = hmac.new(k, part.encode(), hashlib.sha256).digest()
auth = f"AWS4-HMAC-SHA256 Credential={os.environ['S3_ACCESS']}/{scope}, SignedHeaders={names}, Signature={k.hex()}"
urllib.request.urlopen(urllib.request.Request(end + path, body, {"Authorization": auth, "x-amz-content-sha256": digest,
                                                                 "x-amz-date": stamp}, method="PUT"))
PY
}
for i in $(seq 10 49); do put "$i.csv" "id
$i
"; done

# ---- a listing that fails in the middle (a page has seven keys) ----

site
printf 'continuation-token 1000 500\n' >"$S3_FAULTS"
message=$(qetlctl scan p 2>&1)
is 'a listing whose second page fails has failed' $? 1
ok 'what the first one had are jobs' queue_is 'SELECT count(*) FROM job' 7
cursor=$(queue_sql 'SELECT cursor FROM scan')
like 'the place is kept' "$cursor" 'in/16.csv'
: >"$S3_LOG"
qetlctl scan p >"$work/out" 2>&1
like 'the next one begins behind it' "$(head -1 "$S3_LOG")" 'start-after=in%2F16'
ok 'with the page that failed' queue_is 'SELECT count(*) FROM job' 14
rm "$S3_FAULTS"
qetlctl scan p >"$work/out" 2>&1
is 'one that comes to its end has found the rest' $? 0
is 'each object is one job' "$(queue_sql 'SELECT count(*), count(DISTINCT objects) FROM job_text')" '40|40'
is 'the place is forgotten' "$(queue_sql 'SELECT cursor FROM scan')" ''
put 00.csv "id
0
"
: >"$S3_LOG"
qetlctl scan p >"$work/out" 2>&1
ok 'the next one is from the beginning' test "$(grep -c start-after "$S3_LOG")" = 0
ok 'and sees what is new there' queue_is 'SELECT count(*) FROM job' 41

# ---- killed between two pages ----

site
{ (QETL_FAULT=queue-after-commit:6:kill qetlctl scan p) >"$work/out" 2>&1; } 2>/dev/null
is 'a scan is killed between two pages' $? 137
qetlctl scan p >"$work/out" 2>&1
ok 'the next one finds the rest, and nothing twice' queue_is 'SELECT count(*), count(DISTINCT objects) FROM job_text' '41|41'

# ---- a server that is started again ----

site
start_role all
loaded() { [ "$(sql 'SELECT count(*), count(DISTINCT id) FROM p' 2>/dev/null)" = "$1" ]; }
ok 'all is loaded' wait_for 60 loaded '41|41'
put 99.csv "id
99
"
"$srcdir/tests/services/s3" stop "$work/s3"
timeout 60 qetlctl scan p >"$work/out" 2>&1
is 'a scan of a server that is away has failed' $? 1
like 'and says why' "$(qetlctl status)" 'fetch'
"$srcdir/tests/services/s3" start "$work/s3" >/dev/null
ok 'when it is back the scanner goes on by itself' wait_for 60 loaded '42|42'
stop_roles

# ---- a place that wants to be left alone ----

site '' 'connections = 1'
qetlctl init >/dev/null
hold() { sqlite3 "$site/queue.db" "INSERT INTO remote (name, held_until, held_why) VALUES ('store', $1, 'it is busy')
    ON CONFLICT (name) DO UPDATE SET held_until = excluded.held_until, held_why = excluded.held_why"; }
hold "$(($(date +%s) * 1000 + 3600000))"
: >"$S3_LOG"
message=$(qetlctl scan p 2>&1)
is 'a scan of a place that is held does not come to its end' $? 1
like 'and says for what' "$message" "fetch-busy .*'store' is not listed now: it asked to be left alone: it is busy"
is 'the place was not asked' "$(lists)" 0
hold 0
qetlctl scan p >"$work/out"
is 'when it may be asked' $? 0
ok 'it is listed' queue_is 'SELECT count(*) FROM job' 42
is 'no connection is left taken' "$(queue_sql "SELECT listing FROM remote WHERE name = 'store'")" 0
done_testing
