#!/bin/bash
# after = delete and move in a bucket: copied by the store, compared behind that, deleted only as the version that was loaded.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need curl curl
grep -q '^#define HAVE_S3 1' "$builddir/config.h" || skip_all 'built without s3'
curl --help all | grep aws-sigv4 >/dev/null || skip_all 'this curl cannot sign'
start_service s3

done_with() { queue_is 'SELECT count(*) FROM seen WHERE after > 0' "${1:-0}"; }
told() { grep -q "after= could not be done.*$1" "$site"/*.log; }
requests() { grep -c "^$1 " "$S3_LOG"; }
keys() { cat "$S3_DATA"/bucket/*.facts 2>/dev/null | jq -r .key | sort | tr '\n' ' '; }
keys_are() { [ "$(keys)" = "$1" ]; }
s3_get() { # KEY, encoded
    curl -sS --fail --aws-sigv4 "aws:amz:$S3_REGION:s3" -u "$S3_ACCESS:$S3_SECRET" \
        -H "x-amz-content-sha256: $(printf '' | sha256sum | cut -d' ' -f1)" "$S3/bucket/$1" | tail -1
}
scanned() { # AFTER
    rm -f "$S3_DATA"/bucket/* "$S3_FAULTS"
    : >"$S3_LOG"
    new_site <<INI
$(s3_remote)
[pipeline p]
source  = s3://bucket/in/**.csv
every   = 1h
settle  = 0
after   = $1
columns = id:integer!
table   = warehouse.p
INI
}
load() { # what is there is loaded, and no scanner is there
    qetlctl scan p >"$work/out" 2>&1
    start_role worker
    start_role loader
    wait_for 60 queue_is 'SELECT count(*) FROM seen WHERE after = 2' "$1"
}

# ---- a marker of its own goes with its object ----

for after in delete move:s3://bucket/done; do
    scanned $after
    echo 'done_marker = *.done' >>"$QETL_CONFIG"
    s3_put in/a.csv 1
    s3_put in/a.csv.done 1
    drain
    is "$after: the object and its marker go together" "$(sql 'SELECT count(*) FROM p') $(keys)" \
        "1 $([ $after = delete ] || echo 'done/a.csv done/a.csv.done ')"
done

# ---- delete ----

scanned delete
s3_put 'in/a%20b%25%27%22%2B.csv' 1
s3_put 'in/caf%C3%A9/2.csv' 2
s3_put 'out/3.csv' 3
start_role all
ok 'objects are loaded' wait_for 60 rows_are 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)' 1,2
ok 'and deleted, whatever their names' wait_for 60 keys_are 'out/3.csv '
stop_roles

scanned delete
s3_put in/c.csv 1
load 1
s3_put in/c.csv 7
start_role scanner
ok 'an object that changed since is done with' wait_for 60 done_with
is 'and stays' "$(keys)$(s3_get in/c.csv)" 'in/c.csv 7'
is 'nobody asked the store to delete it' "$(requests DELETE)" 0
stop_roles

scanned delete
s3_put in/r.csv 1
load 1
echo '^DELETE 1 replace' >"$S3_FAULTS"
start_role scanner
ok 'one that changes in the moment before' wait_for 60 done_with
is 'stays, by the condition' "$(s3_get in/r.csv)" 777
stop_roles

scanned delete
s3_put in/n.csv 1
load 1
echo '^DELETE 1 501' >"$S3_FAULTS"
start_role scanner
ok 'a store that knows no such condition' wait_for 60 keys_are ''
is 'is asked without' "$(requests DELETE)" 2
stop_roles

# ---- move, killed behind the copy ----

scanned move:s3://bucket/done/deep
s3_put in/m%20x.csv 1
load 1
QETL_FAULT=after-copied:1:kill start_role scanner
killed=$role_pid
ok 'a scanner that is killed behind the copy goes on' wait_for 60 done_with
ok 'it was killed' grep -q 'error=.*died: Killed' "$site/scanner.log"
kill "$killed"
wait "$killed" 2>/dev/null
is 'the object was moved' "$(keys)" 'done/deep/m x.csv '
is 'by one copy' "$(requests PUT)" 2
s3_put in/m%20x.csv 2
start_role scanner
qetlctl scan p >"$work/out" 2>&1
ok 'another one of its name is loaded' wait_for 60 rows_are 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)' 1,2
ok 'and moved, over nothing' wait_for 60 keys_are 'done/deep/m x.csv done/deep/m x.csv.2 '
is 'each as it was' "$(s3_get done/deep/m%20x.csv) $(s3_get done/deep/m%20x.csv.2)" '1 2'
stop_roles

# ---- the ETag of a copy is another one where the object came in parts: the bytes say that it is ours ----

scanned move:s3://bucket/done
s3_put in/p.csv 1
for f in "$S3_DATA"/bucket/*.facts; do sed -i 's/"etag": "\\"[0-9a-f]*\\""/"etag": "\\"0123456789abcdef0123456789abcdef-2\\""/' "$f"; done
load 1
QETL_FAULT=after-copied:1:kill start_role scanner
killed=$role_pid
ok 'an object of parts is moved, too, by a scanner that is killed' wait_for 60 done_with
kill "$killed"
wait "$killed" 2>/dev/null
is 'to one place' "$(keys)" 'done/p.csv '
stop_roles

# ---- replaced between the copy and its end: no copy of what was not loaded ----

scanned move:s3://bucket/done
s3_put in/q.csv 1
load 1
echo '^DELETE./bucket/in 1 replace' >"$S3_FAULTS"
start_role scanner
ok 'one that is replaced behind the copy is done with' wait_for 60 done_with
is 'it stays, and no copy of it' "$(keys)$(s3_get in/q.csv)" 'in/q.csv 777'
stop_roles

# ---- a store that refuses ----

scanned move:s3://bucket/done
s3_put in/x.csv 1
echo '^DELETE 1000 403' >"$S3_FAULTS"
start_role all
ok 'a store that does not let us delete is told of' wait_for 60 told 'fetch-refused'
s3_put in/y.csv 2
qetlctl scan p >"$work/out" 2>&1
ok 'what comes then is loaded all the same' wait_for 60 rows_are 'SELECT count(*) FROM p' 2
: >"$S3_FAULTS"
ok 'when it lets us, it is done' wait_for 90 done_with
is 'and each is there once' "$(keys)" 'done/x.csv done/y.csv '
is 'each was loaded once' "$(sql 'SELECT count(*) FROM p')" 2
stop_roles

scanned move:s3://bucket/done
s3_put in/z.csv 1
load 1
echo '^PUT./bucket/done 1 error200' >"$S3_FAULTS"
start_role scanner
ok 'a copy that fails behind a status of 200 is no copy' wait_for 60 done_with
is 'and is made again' "$(keys)$(s3_get done/z.csv)" 'done/z.csv 1'
stop_roles
done_testing
