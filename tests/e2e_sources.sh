#!/bin/bash
# From every kind of server into the table: schemes, credentials, redirects, broken and changed downloads, archives that must seek.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need bsdtar libarchive-tools
start_service http
start_service faults
try_service ftp || FTP=ftp://127.0.0.1:1
try_service ftps || FTPS=ftps://localhost:1 FTPSCA=$CA
try_service sftp || SFTP=sftp://127.0.0.1:1 SFTPUSER=nobody SFTPKEY=$work/none KNOWN_HOSTS=$work/none HOSTKEY=none

secret() { (umask 077 && printf '%s\n' "$2" >"$work/$1.secret"); }
secret user user
secret password password
secret wrong hunter2-wrong
secret key sesame
secret sftpuser "$SFTPUSER"
secret passphrase 'a passphrase'
as_root_user=@file:$work/sftpuser.secret

LEASE=3s HEARTBEAT=200ms
new_site <<INI
[limits]
big_object = 1M
connect_timeout = 5s
[pipeline t]
columns = id:integer!, amount:decimal(2)
table   = warehouse.t
mode    = replace
attempts = 1
[pipeline body]
header  = no
columns = n:integer!, version:text!
table   = warehouse.body
mode    = replace
backoff = 50ms
[pipeline wide]
columns = id:integer!, filler:text!
table   = warehouse.wide
mode    = replace
attempts = 1
[pipeline fussy]
columns = id:integer!
table   = warehouse.fussy
attempts = 1
[remote ftp]
url      = $FTP/
user     = @file:$work/user.secret
password = @file:$work/password.secret
[remote ftp-wrong]
url      = $FTP/wrong/
user     = user
password = @file:$work/wrong.secret
[remote ftps]
url      = $FTPS/
ca_file  = $FTPSCA
[remote ftps-nobody]
url      = $FTPS/unknown/
[remote sftp-known]
url      = $SFTP$work/sftp/root/known/
user     = $as_root_user
private_key = $SFTPKEY
known_hosts = $KNOWN_HOSTS
[remote sftp-pinned]
url      = $SFTP$work/sftp/root/pinned/
user     = $as_root_user
private_key = $work/locked
password = @file:$work/passphrase.secret
host_key_sha256 = $HOSTKEY
[remote sftp-other]
url      = $SFTP$work/sftp/root/other/
user     = $as_root_user
private_key = $SFTPKEY
host_key_sha256 = $(head -c 32 /dev/zero | base64 | tr -d =)
[remote https]
url      = $HTTPS/
ca_file  = $CA
[remote to-https]
url      = $HTTP/tohttps/
ca_file  = $CA
[remote auth]
url      = $HTTP/auth/
user     = @file:$work/user.secret
password = @file:$work/password.secret
[remote auth-wrong]
url      = $HTTP/auth/wrong
user     = user
password = @file:$work/wrong.secret
[remote key]
url      = $HTTP/key/
header   = X-Key: @file:$work/key.secret
INI
qetlctl init >/dev/null || bail 'no site'

# Each case has its own rows: 1000 from FIRST on.
first=0
fresh() { first=$((first + 1000)) && "$srcdir/tests/rows.sh" 1000 $first >"$1"; }
loads() { # NAME URI: these rows are in the table afterwards
    local out
    out=$(qetlctl run t "$2" 2>&1)
    is "$1" "$(sql 'SELECT count(*), min(id), max(id) FROM t' 2>&1)" "1000|$first|$((first + 999))" || diag "$out"
}
refused() { # NAME URI CODE
    local out
    out=$(qetlctl run t "$2" 2>&1)
    like "$1" "$out" "\[$3\]"
}

# ---- paths ----
mkdir "$work/mit Leerzeichen"
fresh "$work/mit Leerzeichen/Größe über 100%.csv"
loads 'a path with spaces, umlauts and a percent sign' "$work/mit Leerzeichen/Größe über 100%.csv"
fresh "$work/mit Leerzeichen/ä b.csv"
loads 'file:// with them percent-encoded' "file://$work/mit%20Leerzeichen/%C3%A4%20b.csv"
fresh "$work/mit Leerzeichen/c d.csv"
(cd "$work/mit Leerzeichen" && qetlctl run t 'c d.csv' >"$work/out" 2>&1)
is 'a path from here' "$(sql 'SELECT min(id) FROM t')" $first
fresh "$WWW/sp ä.csv"
loads 'http with spaces and umlauts percent-encoded' "$HTTP/files/sp%20%C3%A4.csv"

# ---- https, credentials, redirects ----
fresh "$WWW/a.csv"
loads 'https with a CA of our own' "$HTTPS/files/a.csv"
refused '... which does not vouch for another name' "$ALIEN/files/a.csv" tls
fresh "$WWW/a.csv"
loads 'http: user and password from files' "$HTTP/auth/a.csv"
refused '... not with a wrong password' "$HTTP/auth/wrong.csv" fetch-denied
fresh "$WWW/a.csv"
loads 'http: a header from a file' "$HTTP/key/a.csv"
fresh "$WWW/a.csv"
loads 'a redirect is followed' "$HTTP/to/a.csv"
fresh "$WWW/a.csv"
loads '... also from http to https' "$HTTP/tohttps/a.csv"
refused '... but not from https to http' "$HTTPS/tohttp/a.csv" fetch-refused
refused '... nor to a file of ours' "$FAULTS/x?status=302&to=file:///etc/passwd" fetch-refused
refused '... nor for ever' "$HTTP/loop" fetch-refused

# ---- ftp, ftps, sftp ----
if [ -n "${FTPROOT:-}" ]; then
    fresh "$FTPROOT/a b.csv"
    loads 'ftp with user and password from files' "$FTP/a%20b.csv"
    refused '... not with a wrong password' "$FTP/wrong/a.csv" fetch-denied
    refused '... a missing file is missing' "$FTP/none.csv" fetch-missing
else
    skip 'no ftp server here (apt-get install python3-pyftpdlib)' 3
fi
if [ -n "${FTPSROOT:-}" ]; then
    fresh "$FTPSROOT/a.csv"
    loads 'ftps with a CA of our own' "$FTPS/a.csv"
    refused '... not without it' "$FTPS/unknown/a.csv" tls
    refused '... not without TLS' "$FTPSPLAIN/a.csv" fetch-denied
else
    skip 'no ftps server here (apt-get install vsftpd)' 3
fi
may_log_in() { # a locked account may not, whatever the key
    ssh -q -p "${SFTP##*:}" -i "$SFTPKEY" -o BatchMode=yes -o UserKnownHostsFile="$KNOWN_HOSTS" "$SFTPUSER@127.0.0.1" \
        -s sftp </dev/null >/dev/null
}
if [ -n "${SFTPROOT:-}" ] && may_log_in; then
    ssh-keygen -q -t ed25519 -N 'a passphrase' -f "$work/locked"
    cat "$work/locked.pub" >>"$work/sftp/authorized"
    mkdir "$SFTPROOT"/{known,pinned,trusting,other}
    fresh "$SFTPROOT/known/a b.csv"
    loads 'sftp by known_hosts' "$SFTP$SFTPROOT/known/a%20b.csv"
    fresh "$SFTPROOT/pinned/a.csv"
    loads 'sftp by the hash of the host key, a private key with its passphrase from a file' "$SFTP$SFTPROOT/pinned/a.csv"
    refused '... refused when nothing says which host key is right' "$SFTP$SFTPROOT/trusting/a.csv" host-key
    sed '/^known_hosts/d' "$site/qetl.ini" >"$work/trusting.ini"
    like '... in the ini already' "$(qetlctl -c "$work/trusting.ini" check 2>&1)" 'remote sftp-known.*needs known_hosts or host_key_sha256'
    refused '... or when it is another one' "$SFTP$SFTPROOT/other/a.csv" host-key
else
    skip 'no sftp server here, or no login for this user' 5
fi

# ---- what is kept of an object, many objects ----
fresh "$WWW/kept.csv"
touch -d '2026-01-02 03:04:05 UTC' "$WWW/kept.csv"
loads 'an object over http' "$HTTP/files/kept.csv"
kept=$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')
is '... keeps URI, size, ETag and date' "$(qetlctl --json show "$kept" | jq -r '.objects[0] | [.uri, .size, .etag, .modified] | map(tostring) | join(" ")')" \
    "$HTTP/files/kept.csv $(stat -c %s "$WWW/kept.csv") $(curl -sI "$HTTP/files/kept.csv" | sed -n 's/^ETag: \(.*\)\r$/\1/p') Fri, 02 Jan 2026 03:04:05 GMT"
uris=() first=100000
for i in $(seq 25); do
    "$srcdir/tests/rows.sh" 40 $((first + (i - 1) * 40)) >"$WWW/many$i.csv"
    case $((i % 3)) in
        0) uris+=("$WWW/many$i.csv") ;;
        1) uris+=("$HTTP/files/many$i.csv") ;;
        2) gzip -k "$WWW/many$i.csv" && uris+=("$HTTPS/files/many$i.csv.gz") ;;
    esac
done
qetlctl run t "${uris[@]}" >"$work/out" 2>&1
is 'a job of 25 objects from three places' "$(sql 'SELECT count(*), count(DISTINCT id), min(id), max(id) FROM t')" "1000|1000|100000|100999"
is '... has them all' "$(queue_sql 'SELECT count(*) FROM object GROUP BY job ORDER BY job DESC LIMIT 1')" 25
rm "$WWW/many7.csv"
qetlctl run t "${uris[@]}" >"$work/out" 2>&1
is 'one of them is missing: no row of the others' "$? $(sql 'SELECT count(*) FROM t')" '1 1000'
like '... and the message names it' "$(cat "$work/out")" 'many7.csv'

# ---- archives that must seek ----
wide() { awk -v n="$1" 'BEGIN { print "id,filler"; f = sprintf("%900s", ""); gsub(/ /, "x", f); for (i = 1; i <= n; i++) print i "," f i }'; }
wide 100 >"$work/small.csv"
wide 11000 >"$work/big.csv"
bsdtar -C "$work" -a -cf "$WWW/small.zip" --options zip:compression=store small.csv
bsdtar -C "$work" -a -cf "$WWW/small.7z" small.csv
bsdtar -C "$work" -a -cf "$WWW/big.zip" --options zip:compression=store big.csv
bsdtar -C "$work" -a -cf "$WWW/big.7z" --options 7zip:compression=store big.csv
for kind in zip 7z; do
    ok "$kind over http" qetlctl run wide "$HTTP/files/small.$kind"
    is '... has its rows' "$(sql 'SELECT count(*), sum(id) FROM wide')" '100|5050'
    # what goes through the spool meets this fault
    ok '... in memory when it is small' env QETL_FAULT=spool-meta:error qetlctl run wide "$HTTP/files/small.$kind"
    like '... in the spool when it is big' "$(QETL_FAULT=spool-meta:error qetlctl run wide "$HTTP/files/big.$kind" 2>&1)" 'io\]'
    ok "a big $kind over http" qetlctl run wide "$HTTP/files/big.$kind"
    is '... has its rows' "$(sql 'SELECT count(*), sum(id), sum(length(filler)) FROM wide')" "11000|60505500|$((11000 * 900 + 43894))"
done

# ---- broken downloads; the server's rows: a number and its version ----
asked() { curl -s "$FAULTS/ranges?of=${1#"$FAULTS"}" | tr '\n' ' '; }
bodies() { sql 'SELECT count(*), count(DISTINCT n), max(n), count(DISTINCT version) FROM body'; }
versions() { sql "SELECT DISTINCT version = '$(python3 "$srcdir/tests/services/faults.py" body 34 "$1" | cut -d, -f2)' FROM body"; }
attempts() { queue_sql "SELECT group_concat(outcome, ' ') FROM (SELECT outcome FROM attempt WHERE job = $1 AND kind = 'work' ORDER BY number)"; }
last() { qetlctl --json jobs --limit 1 | jq '.jobs[0].id'; }
uri="$FAULTS/once?n=102000&cut=40000&times=1"
ok 'a download that breaks off' qetlctl run body "$uri"
is '... is resumed inside the attempt' "$(attempts "$(last)"): $(asked "$uri")" 'staged: - bytes=40000- '
is '... and its rows are whole' "$(bodies)" '3000|3000|2999|1'
uri="$FAULTS/once?n=3400000&cut=1500000&times=1&how=rst"
ok 'a big one that breaks off' qetlctl run body "$uri"
like '... is resumed inside the attempt' "$(attempts "$(last)"): $(asked "$uri")" '^staged: - bytes=1[0-9]{6}- $'
is '... and its rows are whole' "$(bodies)" '100000|100000|99999|1'

uri="$FAULTS/changing?n=102000&cut=40000&times=1&version=each"
ok 'one that changes in the middle' qetlctl submit body "$uri"
ok '... is taken anew by the next attempt' qetl drain --max-wait 30s
is '... which found no other way' "$(attempts "$(last)"), $(queue_sql 'SELECT code FROM error ORDER BY id DESC LIMIT 1')" 'failed staged, changed'
is '... never glued together' "$(bodies)" '3000|3000|2999|1'
uri="$FAULTS/changing?n=3400000&cut=1500000&times=1&version=each"
ok 'a big one that changes in the middle' qetlctl submit body "$uri"
ok '... is taken anew by the next attempt' qetl drain --max-wait 30s
is '... never glued together' "$(attempts "$(last)"), $(bodies)" 'failed staged, 100000|100000|99999|1'

# ---- a worker killed in mid-fetch ----
part() { [ "$(find "$site/spool/fetch" -name '*.part' -size +1400k | wc -l)" = 1 ]; }
killed() { # NAME URI: the job of the URI, whose first answer stalls behind 1.5 MB; then the worker dies
    local pids
    job=$(qetlctl --json submit body "$2" | jq .id)
    start_role worker
    ok "$1: fetched in part" wait_for 30 part
    mapfile -t pids < <(pgrep -P "$role_pid")
    kill -9 "${pids[@]}"
    start_role loader
    ok "$1: killed, and loaded by the next" wait_for 30 bash -c "[ \"\$(qetlctl --json show $job | jq -r .job.state)\" = loaded ]"
    stop_roles
    is "$1: by the second attempt" "$(attempts "$job")" 'crashed staged'
}
uri="$FAULTS/killed?n=3400000&cut=1500000&times=1&how=stall"
killed 'a big object' "$uri"
like '... which fetched only the rest' "$(asked "$uri")" '^- bytes=1[45][0-9]{5}- $'
is '... and the rows are whole' "$(bodies)" '100000|100000|99999|1'
uri="$FAULTS/killed?n=3400000&cut=1500000&times=1&how=stall&version=each"
killed 'one that is another by then' "$uri"
like '... which asked for the rest' "$(asked "$uri")" '^- bytes=1[45][0-9]{5}- $'
is '... and took the new one whole' "$(bodies), $(versions 2)" '100000|100000|99999|1, 1'
uri="$FAULTS/killed?n=3400000&cut=1500000&times=1&how=stall&version=each&range=blind"
killed 'one whose server glues' "$uri"
is '... the server was not believed' "$(bodies), $(versions 3)" '100000|100000|99999|1, 1'
is 'nothing of a loaded object stays in the spool' "$(for uid in $(queue_sql "SELECT uid FROM job WHERE state = 'loaded'"); do find "$site/spool/fetch" -name "*$uid*"; done)" ''

# ---- a failed parse does not fetch again ----
awk 'BEGIN { print "id,filler"; for (i = 1; i <= 150000; i++) print i ",abcdefghij"; print "x,y" }' >"$WWW/bad.csv"
qetlctl run fussy "$HTTP/files/bad.csv" >"$work/out" 2>&1
is 'a big object with a bad row: dead' "$? $(state "$(last)")" '1 dead'
ok '... and again' qetlctl retry "$(last)"
qetl drain 2>/dev/null
is '... it was read again' "$(attempts "$(last)")" 'failed failed'
is '... but asked for only its last byte, to compare the version' "$(grep -c 'bad.csv' "$LOG") $(grep 'bad.csv' "$LOG" | tail -n1 | cut -d' ' -f5-)" \
    "2 206 bytes=$(($(stat -c %s "$WWW/bad.csv") - 1))-"
sed '$d' "$WWW/bad.csv" >"$WWW/bad.new" && mv "$WWW/bad.new" "$WWW/bad.csv"
ok '... mended at its source' qetlctl retry "$(last)"
qetl drain 2>/dev/null
is '... the mended one is fetched and loaded' "$(state "$(last)") $(sql 'SELECT count(*), max(id) FROM fussy')" 'loaded 150000|150000'

# ---- a server that says when to come again ----
uri="$FAULTS/busy?n=102000&status=503&after=600&on=1-1"
job=$(qetlctl --json submit body "$uri" | jq .id)
qetl drain 2>/dev/null
is 'a server that asks for a pause: drain says that the job waits' "$?" 1
is '... it is ready, but its server is not asked before that, and no try is counted' "$(state "$job") $(queue_sql "SELECT held_until - (SELECT max(finished) FROM attempt WHERE job = $job) BETWEEN 599000 AND 601000, attempts
    FROM job JOIN remote ON remote.name = job.remote WHERE id = $job")" 'ready 1|0'
qetl drain 2>/dev/null
is '... and nobody asks before' "$(asked "$uri")" '- '
is '... after it the job is loaded' "$(QETL_CLOCK_OFFSET_MS=700000 qetl drain 2>/dev/null; state "$job") $(bodies)" 'loaded 3000|3000|2999|1'
done_testing
