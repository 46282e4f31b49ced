#!/bin/bash
# Directories and S3 stores as warehouses: forms, partitions, big objects, replace, undo, and what is refused. Rows are read back by
# tests/object_read.py from the manifests alone.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
. "$srcdir/tests/object.sh"

# ---- forms ----

forms() { # KIND, the folder of all
    local form pack
    csv id,name,price,weight,sold,day,at,extra \
        '1,Zoë,12.50,0.1,true,2024-02-29,2024-02-29T12:34:56.789012Z,"{""a"": [1, 2]}"' \
        '2,NA,-0.05,-1e300,false,0001-01-01,9999-12-31T23:59:59Z,"""x"""' \
        '3,"two
lines, ""quoted""",NA,3,no,NA,NA,NA' \
        '-9223372036854775808,,0,0,yes,1970-01-01,1970-01-01T00:00:00Z,null' \
        '5, spaces ,1,1,1,2000-01-01,2000-01-01T00:00:00Z,"[1,
2]"'
    printf '%s\n' '["-9223372036854775808", "", "0.00", "0", "true", "1970-01-01", "1970-01-01T00:00:00Z", "null"]' \
        '["1", "Zoë", "12.50", "0.1", "true", "2024-02-29", "2024-02-29T12:34:56.789012Z", "{\"a\": [1, 2]}"]' \
        '["2", "", "-0.05", "-1e+300", "false", "0001-01-01", "9999-12-31T23:59:59Z", "\"x\""]' \
        '["3", "two\nlines, \"quoted\"", "", "3", "false", "", "", ""]' \
        '["5", " spaces ", "1.00", "1", "true", "2000-01-01", "2000-01-01T00:00:00Z", "[1,\n2]"]' >"$work/csv.wanted"
    printf '%s\n' '{"id":-9223372036854775808,"name":"","price":0.00,"weight":0,"sold":true,"day":"1970-01-01","at":"1970-01-01T00:00:00Z","extra":null}' \
        '{"id":1,"name":"Zoë","price":12.50,"weight":0.1,"sold":true,"day":"2024-02-29","at":"2024-02-29T12:34:56.789012Z","extra":{"a": [1, 2]}}' \
        '{"id":2,"name":null,"price":-0.05,"weight":-1e+300,"sold":false,"day":"0001-01-01","at":"9999-12-31T23:59:59Z","extra":"x"}' \
        '{"id":3,"name":"two\nlines, \"quoted\"","price":null,"weight":3,"sold":false,"day":null,"at":null,"extra":null}' \
        '{"id":5,"name":" spaces ","price":1.00,"weight":1,"sold":true,"day":"2000-01-01","at":"2000-01-01T00:00:00Z","extra":[1, 2]}' >"$work/jsonl.wanted"
    for form in csv jsonl; do
        for pack in none gz zst; do
            if [ $pack$zst = zstno ]; then skip 'no zstd' 2; continue; fi
            load ${form}_$pack
            place=$2${form}_$pack
            [ "$1" != s3 ] || place=$place/
            is "$1: every type goes into $form, $pack" "$(counts "$job")" 'loaded 5 0'
            is "$1: ... and comes back" "$(rows t)" "$(cat "$work/$form.wanted")"
        done
    done
}

partitions() { # KIND
    csv id,placed,city '1,2024-02-29T23:59:59Z,Berlin' '2,2024-03-01,São Paulo/x' '3,2024-02-29,Berlin' '4,NA,NA' '5,2024-02-29,' \
        '6,2024-02-29,..' '7,2024-02-29,__null__' "8,2024-02-29,$(printf 'x%.0s' $(seq 300))" '9,1969-12-31T23:00:00Z,a%b{uid}'
    load parted
    local uid
    uid=$(uid_of "$job")
    is "$1: rows are parted by date and value" "$(counts "$job")" 'loaded 8 0'
    is "$1: ... into names that are safe" "$(read_back names visits)" "$(printf '%s\n' \
        "visits/day=1969-12-31/city=a%25b%7Buid%7D/$uid-0.csv" \
        "visits/day=2024-02-29/city=%2E%2E/$uid-0.csv" \
        "visits/day=2024-02-29/city=%5F_null__/$uid-0.csv" \
        "visits/day=2024-02-29/city=Berlin/$uid-0.csv" \
        "visits/day=2024-02-29/city=__empty__/$uid-0.csv" \
        "visits/day=2024-03-01/city=S%C3%A3o%20Paulo%2Fx/$uid-0.csv" \
        "visits/day=__null__/city=__null__/$uid-0.csv" | LC_ALL=C sort)"
    is "$1: ... a value that is too long for a name is rejected" "$(field "$job" rows_rejected)" 1
    is "$1: ... and every row comes back" "$(rows visits | jq -r '.[0]' | sort | xargs)" '1 2 3 4 5 6 7 9'
    { echo id,placed,city; seq 1001 | sed 's/.*/&,2024-01-01,c&/'; } >"$work/in.csv"
    load parted
    is "$1: more than 1000 objects are refused" "$(state "$job")" dead
    like "$1: ... with the reason" "$(error_of)" 'more than 1000 objects'
    is "$1: ... which is that of path=" "$(qetlctl --json errors | jq -r '.errors[0].code')" config
    { echo id,placed,city; seq 60000 | sed 's/.*/&,2024-01-01,c&/; s/c\(.*\)\(..\)$/c\2/'; } >"$work/in.csv"
    load parted
    is "$1: 60,000 rows into 100 objects" "$(counts "$job") $(rows visits | wc -l)" 'loaded 60000 0 60008'
}

# ---- append, replace, undo ----

modes() { # KIND
    csv id,job 1,one
    load add
    csv id,job 2,two 3,two
    load add
    is "$1: appends stand side by side" "$(rows t)" "$(printf '["1", "one"]\n["2", "two"]\n["3", "two"]')"
    csv id,job 9,swap
    load swap
    is "$1: a replace says what it removed" "$(counts "$job")" 'loaded 1 3'
    is "$1: ... its rows are the table" "$(rows t)" '["9", "swap"]'
    is "$1: ... and the older objects are deleted" "$(read_back stale)$(read_back extra)" ''
    csv id,job 10,more
    load add
    last_append=$job
    is "$1: an append behind it adds" "$(rows t)" "$(printf '["10", "more"]\n["9", "swap"]')"
    csv id,job 11,again
    load swap
    is "$1: the next replace removes both" "$(counts "$job") $(rows t)" 'loaded 1 2 ["11", "again"]'
    csv id,job
    load swap
    is "$1: a replace by nothing empties the table" "$(state "$job")" dead
    csv id,job 1,both
    cp "$work/in.csv" "$work/a.csv" && cp "$work/in.csv" "$work/b.csv"
    (cd "$work" && rm -f both.zip && python3 -m zipfile -c both.zip a.csv b.csv)
    submit two "$work/both.zip" >/dev/null
    drain
    is "$1: a job's tables are loaded together" "$(rows a) $(rows b)" '["1", "both"] ["1", "both"]'
    csv id,job 12,undone
    job=$(submit add "$work/in.csv")
    rm -rf "$work/queue" && mkdir "$work/queue" && cp "$site"/queue.db* "$work/queue"
    drain
    ok "$1: an append is taken out again" qetlctl undo "$job"
    is "$1: ... and nothing of it is left" "$(rows t)$(read_back extra)" '["11", "again"]'
    like "$1: one that was replaced since is not" "$(qetlctl undo "$last_append" 2>&1)" 'replaced since'
    rm "$site"/queue.db* && cp "$work/queue"/queue.db* "$site"
    drain
    is "$1: a queue that was put back knows the undone job as waiting: it dies" "$(state "$job") $(rows t)" 'dead ["11", "again"]'
    like "$1: ... with its reason" "$(error_of)" 'it was loaded before, and undone at 20'
}

# ---- a job that is not loaded ----

staged() { start_role worker && wait_for 60 job_is "$1" staged && stop_roles; }
half_a_job() { # KIND: the objects of one table are put when those of the other turn out to be damaged
    local held
    csv id,job 1,whole
    cp "$work/in.csv" "$work/a.csv"
    { echo id,job; seq 20000; } | sed '2,$s/$/,half/' >"$work/b.csv"
    (cd "$work" && rm -f both.zip && python3 -m zipfile -c both.zip a.csv b.csv)
    held=$(rows a)
    job=$(submit two "$work/both.zip")
    staged "$job"
    printf x | dd of="$(find "$site/spool/staged" -type f)" bs=1 seek=1000 conv=notrunc 2>/dev/null
    drain
    is "$1: a job that cannot be loaded is dead" "$(state "$job") $(rows a)" "dead $held"
    is "$1: ... and what it had put is taken out" "$(read_back extra)" ''
    is "$1: ... and nothing is said to be left" "$(grep -c 'may lie in its target' "$site/drain.log")" 0
}

# ---- a directory ----

lake_site "file://$work/lake"
forms file "$work/lake/"
place=$work/lake/lake
partitions file
place=$work/lake/plain
modes file
half_a_job file

# a disk that is full
lake_site "file://$work/small"
cat >>"$site/qetl.ini" <<INI
[target small]
url = file://$work/small/many
compress = none
path = {table}/{id}/{uid}.{ext}
[pipeline small]
columns = id:integer!, text:text
table = small.small
[pipeline large]
columns = id:integer!, text:text
table = small.large
INI
mkdir "$work/small"
if ! unshare -rm mount -t tmpfs none "$work/small" 2>/dev/null; then
    skip 'file systems cannot be mounted here' 4
else
    { echo id,text; for i in 1 2 3 4; do printf "$i,%0100000d\n" $i; done; } >"$work/large.csv"
    job=$(submit large "$work/large.csv")
    csv id,text 5,fits
    small=$(submit small "$work/in.csv")
    unshare -rm sh -c "mount -t tmpfs -o size=300k none '$work/small' && timeout 60 qetl drain --max-wait 1s; cd '$work/small' && find . -type f" \
        >"$work/files" 2>"$site/drain.log"
    is 'full: a smaller job is loaded beside it' "$(state "$job") $(state "$small")" 'staged loaded'
    is 'full: ... and is all that lies there' "$(grep -v '/\.qetl-lock' "$work/files" | LC_ALL=C sort)" \
        "$(printf './many/%s\n' "_manifest/$(uid_of "$small").json" "small/5/$(uid_of "$small").csv")"
    like 'full: ... what waits says why' "$(error_of)" 'No space left'
    unlike 'full: ... and the target is not away' "$(qetlctl status)" 'AWAY'
fi

# what cannot be done is refused before there is a job
no_job() { # NAME REASON
    qetlctl submit p "$work/none.csv" >"$work/out" 2>"$work/err"
    is "$1: exit 3" "$? $(cat "$work/out")" '3 '
    like '... with the reason' "$(cat "$work/err")" "$2"
}
for mode in 'upsert
key = id' 'insert_ignore
key = id' 'history
key = id'; do
    new_site <<INI
[target o]
url = file://$work/refused
[pipeline p]
columns = id:integer!, job:text
table = o.t
mode = $mode
INI
    no_job "mode ${mode%%
*} is refused" 'never read again'
done
for path in 'x/{part}.csv' '../{uid}' '{table}/{nobody}/{uid}' '{table}/{id:%Y}/{uid}' '_manifest/{uid}' '{uid'; do
    new_site <<INI
[target o]
url = file://$work/refused
path = $path
[pipeline p]
columns = id:integer!, job:text
table = o.t
INI
    no_job "path = $path is refused" 'path:'
done

# ---- an S3 store ----

[ $s3 = yes ] || { done_testing; exit 0; }
lake_site s3://bucket/lake "$S3_SECRET"
forms s3 "$S3_DATA/bucket//lake/"
place=$S3_DATA/bucket//lake/lake/
partitions s3
place=$S3_DATA/bucket//lake/plain/
modes s3
half_a_job s3
wanted="$(rows t)"
job=$(submit add "s3://bucket/lake/plain/$(read_back names t)")
drain
is 's3: an object of the store is a source too' "$(state "$job") $(rows t)" "loaded $(printf '%s\n' "$wanted" "$wanted" | sort)"

# 50 MB in parts
{ echo id,text; seq 700000 | sed 's/.*/&,the text of the row number & which is not so very short/'; } >"$work/in.csv"
place=$S3_DATA/bucket//lake/big/
printf '%s\n' 'PUT.*partNumber=3& 1 503' 'PUT.*partNumber 4 slow' >"$S3_FAULTS"
load heavy
parts=$(($(read_back bytes t) / (8 << 20) + 1)) # and one of them twice
is 's3: 50 MB go up in parts' "$(counts "$job") $(grep -c 'PUT .*partNumber=' "$S3_LOG")" "loaded 700000 0 $((parts + 1))"
ok 's3: ... several at a time' awk '/^PUT .*partNumber=/ && $5 > 1 { found = 1 } END { exit !found }' "$S3_LOG"
is 's3: ... and come back' "$(rows t | wc -l) $(rows t | md5sum)" \
    "700000 $(tail -n +2 "$work/in.csv" | sed 's/\(.*\),\(.*\)/["\1", "\2"]/' | LC_ALL=C sort | md5sum)"
rm -f "$work/in.csv"

# the [remote] of a target, with and without slashes
keys_of() { remote "$S3" "$2" | sed "s|\[remote store|[remote $1|; s|^url = .*|url = $3|"; }
own_site() { # SLASH-OF-THE-TARGET SLASH-OF-THE-REMOTE
    new_site <<INI
[target own]
url = s3://bucket/own$1
compress = none
path = {table}/{uid}.{ext}
$(keys_of wide wrong-and-private s3://bucket/)
$(keys_of own "$S3_SECRET" "s3://bucket/own$2")
[pipeline a]
columns = id:integer!, job:text
table = own.a
[pipeline b]
columns = id:integer!, job:text
table = own.b
INI
}
csv id,job 1,x
for target in '' /; do
    for remote in '' /; do
        own_site "$target" "$remote"
        job=$(submit a "$work/in.csv")
        timeout 60 qetl drain --max-wait 1s 2>"$site/drain.log"
        is "the longest [remote] is taken: target own$target, remote own$remote" "$(state "$job")" loaded
    done
done

# a table that may not be written is its jobs' fault; a store that may not be, nobody's
own_site / /
echo 'PUT./bucket/own/a/ 1000 403' >"$S3_FAULTS"
job=$(submit a "$work/in.csv")
other=$(submit b "$work/in.csv")
drain
is 's3: a table that is denied is told of its job, and others are loaded' \
    "$(state "$job") $(qetlctl --json show "$job" | jq -r '.errors[0].code') $(state "$other")" 'dead target-denied loaded'
echo 'PUT./bucket/own/ 1000 403' >"$S3_FAULTS"
job=$(submit a "$work/in.csv")
timeout 60 qetl drain --max-wait 1s 2>"$site/drain.log"
is 's3: where manifests are denied, too, the job waits' "$(state "$job")" staged
: >"$S3_FAULTS"

# a wrong key, and no store at all: jobs wait, and people read why
lake_site s3://bucket/other wrong-and-private
csv id,job 1,x
job=$(submit add "$work/in.csv")
timeout 60 qetl drain --max-wait 1s 2>"$site/drain.log"
like 'doctor says of a wrong key' "$(qetlctl doctor 2>&1)" 'target plain +no .*SignatureDoesNotMatch'
is 'a wrong key leaves the job waiting' "$(state "$job")" staged
like '... says why' "$(cat "$site/drain.log")" 'SignatureDoesNotMatch'
unlike '... and is not shown' "$(cat "$site/drain.log" "$site/queue.db" <(qetlctl --json status 2>&1) | tr -d '\0')" 'wrong-and-private'
sed -i "s|^secret_key = .*|secret_key = $S3_SECRET|" "$site/qetl.ini"
stop_service s3
timeout 60 qetl drain --max-wait 1s 2>"$site/drain.log"
is 'while the store is away the job waits' "$(state "$job")" staged
start_service s3
drain
place=$S3_DATA/bucket//other/plain/
is '... and is loaded when it is back' "$(state "$job") $(rows t)" 'loaded ["1", "x"]'

# ---- a queue.db made anew, or put back ----

new_site <<INI
[target lake]
url = file://$work/known
[pipeline known]
columns = id:integer!
table = lake.known
mode = replace
INI
printf 'id\n1\n' >"$work/in.csv"
qetlctl run known "$work/in.csv" >/dev/null
mkdir "$work/copy"
cp "$site"/queue.db* "$work/copy"
printf 'id\n2\n' >"$work/in.csv"
qetlctl run known "$work/in.csv" >/dev/null
rm -f "$site"/queue.db*
cp "$work/copy"/* "$site"
like 'a queue.db that was put back gives places a second time, which is said' "$(qetlctl run known "$work/in.csv" 2>&1)" \
    "table 'known': seq [0-9]+ is there, and this job has [0-9]+ .*put back from a copy.*\[overtaken\]"
is '... and changes nothing' "$(zcat -f "$work"/known/known/* | xargs)" 'id 2'
rm -f "$site"/queue.db*
printf 'id\n3\n' >"$work/in.csv"
qetlctl run known "$work/in.csv" >/dev/null
is 'one that is made anew goes on behind the old one' "$? $(zcat -f "$work"/known/known/* | xargs)" '0 id 3'

# ---- a newer job replaced the table, and the queue does not know it yet ----
for n in 4 5; do
    printf 'id\n%s\n' $n >"$work/in$n.csv"
    job=$(submit known "$work/in$n.csv")
done
start_role worker
wait_for 60 queue_is "SELECT count(*) FROM job WHERE state = 'staged'" 2
stop_roles
rm -rf "$work/copy"
cp -r "$site" "$work/copy"
qetlctl cancel $((job - 1)) >/dev/null
drain
is 'the newer one is loaded' "$(state "$job") $(zcat -f "$work"/known/known/* | xargs)" 'loaded id 5'
rm -rf "$site"
cp -r "$work/copy" "$site"
drain
is '... and its loader dies before it says so: the older one is superseded' "$(state $((job - 1))) $(state "$job") $(zcat -f "$work"/known/known/* | xargs)" \
    'superseded loaded id 5'
done_testing
