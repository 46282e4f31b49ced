#!/bin/bash
# archive=: the raw objects of jobs, in a directory and in an S3 store, whole and under the same names whatever dies.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
. "$srcdir/tests/object.sh"
start_service http

# shellcheck disable=SC2034 # of qetl.sh
LEASE=5s HEARTBEAT=200ms

# What an archive holds: "NAME MD5" a line. A bucket of tests/services/s3.py is FOLDER//PREFIX.
kept() { # PLACE
    python3 - "$1" <<'PY'
import glob, hashlib, json, os, sys
found, (folder, _, prefix) = {}, sys.argv[1].partition("//")
for at, _, names in os.walk(folder):
    for n in names:
        full = os.path.join(at, n)
        if "//" not in sys.argv[1]:
            found[os.path.relpath(full, folder)] = full
        elif n.endswith(".facts"):
            with open(full, encoding="utf-8") as f:
                key = json.load(f)["key"]
            if key.startswith(prefix):
                found[key[len(prefix):]] = full[:-6]
found.pop(".qetl-lock", None)
for name in sorted(found):
    with open(found[name], "rb") as f:
        print(name, hashlib.md5(f.read()).hexdigest())
PY
}
sum() { md5sum <"$1" | cut -d ' ' -f 1; }
site_of() { # URL of the archive
    new_site <<INI
[limits]
crashes = 100
big_object = 1M
[target attic]
url = $1
$2
[pipeline raw]
columns = id:integer!, text:text
table = warehouse.t
archive = attic
attempts = ${ATTEMPTS:-100}
backoff = 1ms
[pipeline placed]
columns = id:integer!, text:text
table = warehouse.t
archive = attic/raw/2026
max_rejects = 0
INI
    qetlctl init >/dev/null
}
{ echo id,text; seq 3 | sed 's/.*/&,row &/'; } >"$work/small.csv"
{ echo id,text; seq 400000 | sed 's/.*/&,the text of the row number & which is not so very short/'; } >"$work/big.csv"
(cd "$work" && rm -f rows.zip && python3 -m zipfile -c rows.zip small.csv)
cp "$work"/small.csv "$work"/big.csv "$work"/rows.zip "$WWW"
printf 'id,text\nx,no number\n' >"$WWW/bad.csv"

met() { grep -q 'fault injected\|a process died' "$site/worker.log"; }
archived() { # KIND PLACE
    local job uid before
    job=$(submit raw "$work/small.csv" "$HTTP/files/small.csv" "$HTTP/files/rows.zip" "$HTTP/files/big.csv?token=private" "$work/big.csv")
    drain
    uid=$(uid_of "$job")
    is "$1: a job of five objects is loaded" "$(state "$job") $(sql 'SELECT count(*) FROM t')" 'loaded 800009'
    is "$1: ... and they lie in the archive as they were" "$(kept "$2")" "$(printf '%s\n' \
        "_archive/raw/$uid/0-small.csv $(sum "$work/small.csv")" "_archive/raw/$uid/1-small.csv $(sum "$work/small.csv")" \
        "_archive/raw/$uid/2-rows.zip $(sum "$work/rows.zip")" "_archive/raw/$uid/3-big.csv $(sum "$work/big.csv")" \
        "_archive/raw/$uid/4-big.csv $(sum "$work/big.csv")")"
    before=$(kept "$2")
    job=$(submit placed "$HTTP/files/bad.csv")
    drain
    is "$1: a job that dies of its rows: its object is kept, in the folder that is given" "$(state "$job") $(kept "$2" | comm -13 <(echo "$before") -)" \
        "dead raw/2026/$(uid_of "$job")/0-bad.csv $(sum "$WWW/bad.csv")"
    for how in kill error; do
        before=$(kept "$2")
        job=$(submit raw "$HTTP/files/small.csv" "$HTTP/files/big.csv")
        QETL_FAULT=worker-after-archive:2:$how start_role worker
        wait_for 60 met || diag "the fault was never met"
        kill -KILL "$role_pid" 2>/dev/null
        wait "$role_pid" 2>/dev/null
        drain
        wait_for 60 loaded "$job"
        uid=$(uid_of "$job")
        is "$1: ... $how after its last object: once more, under the same names" "$(state "$job") $(kept "$2" | comm -13 <(echo "$before") -)" \
            "loaded $(printf '%s\n' "_archive/raw/$uid/0-small.csv $(sum "$work/small.csv")" "_archive/raw/$uid/1-big.csv $(sum "$work/big.csv")")"
        rm -f "$site/worker.log"
    done
}
loaded() { [ "$(state "$1")" = loaded ] || { drain; [ "$(state "$1")" = loaded ]; }; }

site_of "file://$work/attic" ''
archived file "$work/attic"

# no archive, no load
ATTEMPTS=2 site_of "file://$work/small.csv" ''
job=$(submit raw "$HTTP/files/small.csv")
drain
like 'an archive that cannot be had: the job is not loaded, and says why' "$(state "$job") $(error_of)" '^(dead|ready) .*archive.*small.csv'
is '... no row is' "$(sql 'SELECT count(*) FROM t' 2>/dev/null || echo 0)" 0

# what makes no sense
refused() { # VALUE REASON
    new_site <<INI
[target attic]
url = file://$work/attic
[pipeline raw]
table = warehouse.t
archive = $1
INI
    like "archive = $1 is refused" "$(qetlctl check 2>&1)" "qetl.ini:[0-9]+: \[pipeline raw\] archive: .*$2"
}
refused atic "did you mean 'attic'"
refused warehouse "expected an object store or directory, and target 'warehouse' is a 'sqlite:'"
for folder in '' .. a//b a/../b a/ _manifest _table/x 'a b' .hidden; do refused "attic/$folder" 'expected a folder'; done

[ $s3 = yes ] || { done_testing; exit 0; }
site_of s3://bucket/attic "$(remote "$S3" "$S3_SECRET")"
rm -f "$S3_DATA"/bucket/*
archived s3 "$S3_DATA/bucket//attic/"
ok 's3: big objects went up in parts' grep -q 'PUT .*partNumber=4&' "$S3_LOG"
before=$(kept "$S3_DATA/bucket//attic/" | wc -l)
printf 'PUT.*_archive 1 503\nPUT.*_archive 1 drop\n' >"$S3_FAULTS"
job=$(submit raw "$HTTP/files/small.csv")
drain
is 's3: faults of the store are gone around' "$(state "$job") $(($(kept "$S3_DATA/bucket//attic/" | wc -l) - before))" 'loaded 1'
done_testing
