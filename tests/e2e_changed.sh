#!/bin/bash
# What is loaded is what was listed and settled: an object that changes between its listing and its fetch goes back, settles, and is loaded
# once, by the job that was made of it, whatever place it lies in; and a list that tells sizes and checksums is held to them.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
start_service http
start_service ftp
start_service sftp
has_s3=yes
grep -q '^#define HAVE_S3 1' "$builddir/config.h" && try_service s3 || has_s3=no
chmod 755 "$SFTPROOT"

rows() { seq "$1" | sed 1i\\id; } # N
write() { # N: the object of $place with so many rows
    rows "$1" >"$work/new"
    case $place in
    s3) curl -sS --fail -T "$work/new" --aws-sigv4 "aws:amz:$S3_REGION:s3" -u "$S3_ACCESS:$S3_SECRET" \
        -H "x-amz-content-sha256: $(sha256sum "$work/new" | cut -d' ' -f1)" "$S3/bucket/in/a.csv" ;;
    *) mkdir -p "$root/in" && cat "$work/new" >"$root/in/a.csv" && chmod -R a+rX "$root/in" ;;
    esac
}
site() { # SETTLE LINES: a pipeline of $place
    rm -rf "${root:?}/in"
    new_site <<INI
${remote:+[remote r]
$remote}
[pipeline p]
source  = $url/in/*.csv
every   = 1h
settle  = $1
on_change = reload
columns = id:integer!
table   = warehouse.p
${2-}
INI
}
scan() { qetlctl scan p >"$work/out" 2>&1; }
work() { qetl drain --max-wait 0s 2>"$work/drain"; } # without a look at the source
loaded() { sql 'SELECT count(*) FROM p' 2>/dev/null || echo 0; }
codes() { qetlctl --json errors | jq -r '[.errors[].code] | unique | join(" ")'; }

places='local html json ftp plain sftp'
[ $has_s3 = no ] || places="$places s3"
for place in $places; do
    case $place in
    local) mkdir -p "$work/local" && url=$work/local root=$work/local remote='' ;;
    html) url=$HTTP/index root=$WWW remote='' ;;
    json) url=$HTTP/json root=$WWW remote='' ;;
    ftp) url=$FTP root=$FTPROOT remote="url = $FTP"$'\nuser = user\npassword = password' ;;
    plain) url=$FTP root=$FTPROOT remote="url = $FTP"$'\nuser = plain\npassword = password' ;;
    sftp) url=$SFTP$SFTPROOT root=$SFTPROOT remote="url = $SFTP"$'\n'"user = $SFTPUSER"$'\n'"private_key = $SFTPKEY"$'\n'"known_hosts = $KNOWN_HOSTS" ;;
    s3) url=s3://bucket root=$work/none remote=$(s3_remote | tail -n +2) ;;
    esac

    site 0
    write 3
    scan
    write 5
    drain
    is "$place: an object that was replaced before its job came is loaded once" "$(loaded) $(queue_sql 'SELECT count(*) FROM job')" '5 1'
    drain
    is "$place: and not again" "$(loaded) $(queue_sql 'SELECT count(*) FROM job')" '5 1'

    site 0
    write 3
    scan
    write 100
    work
    is "$place: what a worker finds changed is not loaded" "$(loaded) $(state 1) $(field 1 attempts)" '0 ready 0'
    like "$place: with both values" "$(qetlctl errors)" 'changed .*not the one that was listed: .* was|changed .*it was to have 9 bytes, and has 295'
    like "$place: and it is said what it waits for" "$(qetlctl explain 1)" 'changed after it was listed: it waits until a listing shows it settled'
    drain
    is "$place: the next listing gives it to its job" "$(loaded) $(queue_sql 'SELECT count(*) FROM job') $(state 1)" '100 1 loaded'
    drain
    is "$place: and that is all" "$(loaded) $(queue_sql 'SELECT count(*) FROM job')" '100 1'
    write 101
    drain
    is "$place: another one after that is another job" "$(loaded) $(queue_sql 'SELECT count(*) FROM job')" '201 2'
done

# ---- one that is written slowly, as in issue 5 ----

place=local url=$work/local root=$work/local remote=''
site 2s 'attempts = 1'
sed -i 's/^every.*/every = 1s/' "$QETL_CONFIG"
write 3
start_role scanner
ok 'a file settles' wait_for 60 queue_is 'SELECT count(*) FROM job' 1
looks() { queue_sql 'SELECT number FROM scan'; }
grows() { # FROM TO: more rows, when the scanner has looked again at what is there
    local before
    before=$(looks)
    seq "$1" "$2"
    wait_for 60 test_more "$before"
}
test_more() { [ "$(looks)" -gt "$1" ]; }
(rows 50 && grows 51 70 && grows 71 90 && grows 91 100) >"$root/in/a.csv" &
writer=$!
start_role worker
start_role loader
wait "$writer"
ok 'written anew before its job came it is loaded when it is whole' wait_for 60 job_is 1 loaded
is 'as a whole' "$(loaded) $(queue_sql 'SELECT count(*) FROM job')" '100 1'
stop_roles

# ---- a job of many objects ----

site 0 'group_files = 3'
mkdir -p "$root/in"
for i in 1 2 3; do put "$root/in/$i.csv" "$i"; done
scan
put "$root/in/2.csv" 22
work
is 'a group waits for the one of its objects that changed' "$(loaded) $(state 1)" '0 ready'
drain
is 'and takes all, each once' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)') $(queue_sql 'SELECT count(*) FROM job')" '1,3,22 1'

# ---- it goes meanwhile ----

site 0
write 3
scan
write 5
work
rm "$root/in/a.csv"
drain # a listing that was under way might have been past it
drain
is 'the job of one that went dies of that' "$(state 1) $(qetlctl --json errors | jq -r '.errors[0].code')" 'dead fetch-missing'

# ---- what a list tells of sizes and checksums ----

lists() { # NAME SOURCE: one list, here or at a server, of one file whose bytes are not what it tells; then it is put right
    new_site <<INI
[pipeline p]
source  = $2
every   = 1h
settle  = 0
${3-}
columns = id:integer!
table   = warehouse.p
INI
    drain
    is "$1: what is not as it was told is not loaded" "$(loaded) $(state 1) $(field 1 attempts)" '0 ready 0'
}
mkdir -p "$WWW/l" && chmod 755 "$WWW/l"
rows 5 >"$WWW/l/a.csv"
chmod 644 "$WWW/l/a.csv"
sha=$(sha256sum "$WWW/l/a.csv" | cut -d' ' -f1) md5=$(md5sum "$WWW/l/a.csv" | cut -d' ' -f1) zeros=$(printf '0%.0s' {1..64})
for at in "manifest+file://$WWW/l/list" "manifest+$HTTP/files/l/list"; do
    for how in sha256 md5 size text dedupe; do
        case $how in
        size) told='[{"path": "a.csv", "size": 7777}]' right='[{"path": "a.csv", "size": 13}]' both='it was to have 7777 bytes, and has 13' ;;
        sha256 | dedupe) told='[{"path": "a.csv", "etag": "x", "sha256": "'$zeros'"}]' right='[{"path": "a.csv", "etag": "x", "sha256": "'$sha'"}]' \
            both="its sha256 was to be $zeros, and is $sha" ;;
        md5) told='[{"path": "a.csv", "checksum": "'${zeros:32}'"}]' right='[{"path": "a.csv", "checksum": "'${md5^^}'"}]' \
            both="its md5 was to be ${zeros:32}, and is $md5" ;;
        text) told="$zeros  a.csv" right="$sha  a.csv" both="its sha256 was to be $zeros, and is $sha" ;;
        esac
        printf '%s\n' "$told" >"$WWW/l/list"
        chmod 644 "$WWW/l/list"
        lists "$at, $how" "$at" "$([ $how != dedupe ] || echo 'dedupe = content')"
        like "$at, $how: both values are told" "$(qetlctl errors)" "$both"
        printf '%s\n' "$right" >"$WWW/l/list"
        drain
        is "$at, $how: when the list is put right its job goes on" "$(loaded) $(queue_sql 'SELECT count(*) FROM job')" '5 1'
    done
done

# ---- by hand nothing was listed ----

site 0
write 3
qetlctl submit p "$root/in/a.csv" >"$work/out"
write 5
drain
is 'a job by hand takes what is there' "$(qetlctl --json show 1 | jq -r .job.rows_loaded)" 5
done_testing
