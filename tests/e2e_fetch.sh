#!/bin/bash
# Transfers by io/fetch against real servers and one that does wrong on purpose: the bytes are whole and of one version, or the error says why.
. "${srcdir:-.}/tests/lib.sh"
start_service http
start_service faults
cd "$work" || exit 99
faults_py=$srcdir/tests/services/faults.py

# get [OPTION=VALUE...] URI: fetch into ./out (which stays from before, for resumes); $rc, $facts, and $error, $message, ...
get() {
    error='' message='' heads='' size='' etag='' modified='' offset='' got='' rss='' retry_after_ms=''
    facts=$("$builddir/tests/fetch_get" "$@" out 2>&1) && rc=0 || rc=$?
    while IFS='=' read -r key value; do printf -v "$key" '%s' "$value" 2>/dev/null || diag "$key=$value"; done <<<"$facts"
}
fresh() { rm -f out; get "$@"; }
expect() { python3 "$faults_py" body "$@" >want; }
whole() { # NAME WANTED-FILE: the last get() gave exactly these bytes
    if [ "$rc" = 0 ] && cmp -s out "$2"; then result 0 "$1"; else result 1 "$1" || diag "$facts"; fi
}
fails() { # NAME CODE REGEX
    if [ "$rc" = 1 ] && grep -Eqx -- "$2" <<<"$error" && grep -Eq -- "$3" <<<"$message"; then result 0 "$1"; else
        result 1 "$1" || diag "wanted $2: $3" "$facts"
    fi
}
asked() { curl -s "$FAULTS/count?of=$1"; }
since() { echo $(($(date +%s%N) / 1000000 - $1)); }
now() { since 0; }

head -c 3000000 /dev/urandom >big
head -c 70000 big >small
: >empty
cp big small empty "$WWW"
touch -d '2026-01-02 03:04:05 UTC' "$WWW"/*
mkdir "$WWW/folder"

# ---- a good server ----
fresh "$HTTP/files/big"
whole "a file is fetched over http" big
is "its head is told once, with its size" "$heads $size $offset $got" "1 3000000 0 3000000"
like "its ETag is kept as sent" "$etag" '^".+"$'
is "its date is kept as sent" "$modified" "Fri, 02 Jan 2026 03:04:05 GMT"
fresh "$HTTP/files/empty"
whole "an empty file is fetched" empty
is "and its head is told" "$heads $size" "1 0"
fresh ca="$CA" "$HTTPS/files/big"
whole "a file is fetched over https with a CA of one's own" big
fresh "$HTTPS/files/big"
fails "without that CA it is not" tls 'certificate'
fresh ca="$CA" "$ALIEN/files/big"
fails "nor when the certificate is another host's" tls 'no alternative|does not match'
fresh times=20 "$HTTP/files/small"
is "one connection serves them all" "$(grep -c 'files/small' "$LOG") $(grep 'files/small' "$LOG" | cut -d' ' -f1 | sort -u | wc -l)" "20 1"
fresh "$FAULTS/x?echo=1"
like "the bytes are asked for as they are stored" "$(cat out)" '^Accept-Encoding: identity'
expect 100000
fresh "$FAULTS/x?encoding=gzip"
whole "an encoding that the server claims is not undone" want
fresh "$FAULTS/x?encoding=br"
fails "an encoding that the bytes do not show is refused" fetch-refused 'br or deflate'
fresh "$FAULTS/x?length=chunked"
whole "a body in chunks is fetched" want
fresh "$FAULTS/x?length=close"
whole "a body that ends with the connection is fetched" want
fresh "$FAULTS/x?headers=50000"
whole "headers of 50 kB are fine" want
fresh "$FAULTS/x?length=short"
expect 99000
whole "the announced length is the object, whatever follows it" want

# ---- credentials ----
fresh user=user password=password "$HTTP/auth/big"
whole "user and password open a door" big
printf 'password\n' >secret
chmod 600 secret
fresh user=user "password=@file:$work/secret" "$HTTP/auth/big"
whole "a password can be a reference" big
fresh user=user password=hunter2 "$HTTP/auth/big"
fails "a wrong password is denied" fetch-denied '401'
unlike "and not shown" "$facts" 'hunter2'
fresh "http://user:password@${HTTP#http://}/auth/big"
whole "credentials in the URI work too" big
fresh "http://user:hunter2@${HTTP#http://}/auth/big?token=hunter3"
unlike "and are not shown" "$facts" 'hunter'
fresh "password=@file:$work/none" "$HTTP/auth/big"
fails "a reference that leads nowhere is named" config 'password of the remote.*/none'
printf 'sesame' >secret
fresh "header=X-Key: @file:$work/secret" "$HTTP/key/big"
whole "a header can be a reference" big
fresh "$HTTP/key/big"
fails "without the header it is denied" fetch-denied '403'

# ---- redirects ----
fresh "$HTTP/to/big"
whole "a redirect is followed" big
fresh ca="$CA" "$HTTP/tohttps/big"
whole "from http to https too" big
fresh ca="$CA" "$HTTPS/tohttp/big"
fails "but not from https to http" fetch-refused 'from https to http'
fresh "$HTTP/tosftp"
fails "nor to another kind of server" fetch-refused 'sftp://127.0.0.1/x, which is not followed'
fresh "$FAULTS/x?status=302&to=file:///etc/passwd"
fails "nor to a file of ours" fetch-refused 'not followed'
fresh "$HTTP/loop"
fails "a loop ends" fetch-refused 'more than 10 redirects'
here="$FAULTS/h?echo=1" there="http://localhost:${FAULTS##*:}/h?echo=1"
fresh user=me password=hunter2 "header=X-Key: sesame" "$FAULTS/r?status=302&to=$here"
like "credentials follow a redirect to the same host" "$(tr '\r\n' '  ' <out)" 'X-Key: sesame.*Authorization: Basic|Authorization: Basic.*X-Key: sesame'
fresh user=me password=hunter2 "header=X-Key: sesame" "$FAULTS/r?status=302&to=$there"
like "a redirect to another host is followed" "$(cat out)" '^Host: localhost'
unlike "without them" "$(cat out)" 'sesame|Authorization'

# ---- refusals ----
while read -r status code; do
    fresh "$HTTP/status/$status"
    fails "status $status is $code" "$code" "the server answered $status"
done <<'END'
204 fetch-refused
304 fetch-refused
400 fetch-refused
401 fetch-denied
403 fetch-denied
404 fetch-missing
410 fetch-missing
418 fetch-refused
429 fetch-busy
500 fetch
502 fetch
503 fetch-busy
END
is "Retry-After is passed on" "$retry_after_ms" 7000
fresh "$FAULTS/x?status=503&after=$(LC_ALL=C TZ=GMT date -d '+30 seconds' '+%a,+%d+%b+%Y+%H:%M:%S+GMT')"
ok "as a date too" test "${retry_after_ms:-0}" -gt 20000 -a "${retry_after_ms:-0}" -le 31000
fresh "$FAULTS/x?status=408"
fails "status 408 is timeout" timeout 'the server answered 408'
fresh "$FAULTS/x?raw=garbage"
fails "what is not HTTP is an error" fetch 'does not speak'
fresh "$FAULTS/x?raw=empty"
fails "an empty reply is an error" fetch '[Ee]mpty reply'
fresh "$FAULTS/x?headers=600000"
fails "endless headers are refused" fetch-refused 'headers are longer'
fresh limit=1000000 "$FAULTS/x?endless=1"
fails "an endless body ends at the limit" limit 'more bytes than \[limits\] object'
ok "with no byte over it" test "$(stat -c %s out)" -le 1000000
fresh limit=1000000 "$HTTP/files/big"
fails "a body that announces too much is not begun" limit '3000000 bytes'
is "not with one byte" "$got" 0

# ---- a transfer that breaks off is resumed ----
expect 100000
for how in fin rst badchunk; do
    length=right
    [ "$how" != badchunk ] || length=chunked
    fresh "$FAULTS/once?how=$how&cut=40000&times=1&length=$length"
    whole "$how: it goes on where it was" want
    is "$how: by one more request, and no byte twice" "$heads $got $(asked "/once?how=$how&cut=40000&times=1&length=$length")" "1 100000 2"
done
fresh stall=1000 "$FAULTS/stall?how=stall&cut=40000&times=1"
whole "stall: it goes on where it was" want
fresh "$FAULTS/often?cut=30000"
whole "as often as each try brings bytes" want
is "so often" "$(asked "/often?cut=30000")" 4
fresh "$FAULTS/little?cut=20"
fails "tries that bring next to nothing come to an end" fetch 'end|closed|bytes'
is "after so many" "$(asked "/little?cut=20")" 4
fresh "$FAULTS/date?cut=40000&times=1&etag=weak&modified=old"
whole "a date that is old enough vouches for the version" want
fresh "$FAULTS/weak?cut=40000&times=1&etag=weak"
fails "a weak ETag does not" fetch 'closed|end'
is "and nothing is asked again" "$(asked "/weak?cut=40000&times=1&etag=weak")" 1
fresh "$FAULTS/fresh?cut=40000&times=1&etag=none&modified=fresh"
fails "nor does a date of this second" fetch 'closed|end'
is "which is not kept either" "$modified" ''
fresh "$FAULTS/busy?cut=40000&times=1&status=503&on=2-3&after=0"
whole "a server that is busy meanwhile is asked again" want
fresh "$FAULTS/away?cut=40000&times=1&status=503&on=2-9&after=600"
fails "but not when it wants a long pause" fetch-busy '503'
is "which is passed on" "$retry_after_ms" 600000
fresh "$FAULTS/more?cut=40000&times=1&length=long"
fails "a server that announces more than it has is found out" fetch '1000 bytes remaining'
fresh "$FAULTS/gone?cut=40000&times=1&status=404&on=2-9"
fails "an object that is gone meanwhile is missing" fetch-missing '404'
fresh "$FAULTS/r?status=302&to=$FAULTS/behind?cut=40000%26times=1"
whole "behind a redirect too" want
for range in ignore wrong refuse total; do
    fresh "$FAULTS/range?cut=40000&times=1&range=$range"
    whole "a server whose ranges are no good ($range) gives the rest" want
    is "and no byte goes twice ($range)" "$heads $got" "1 100000"
done

# ---- two versions are never glued together ----
for knobs in 'version=each' 'version=each&range=blind' 'version=each&range=ignore' 'grow=1000' \
    'version=each&range=blind&etag=none&modified=old' 'grow=1000&etag=none&modified=old' 'version=each&range=wrong' \
    'range=bare'; do
    fresh "$FAULTS/changed?cut=40000&times=1&$knobs"
    fails "an object that changed meanwhile is not gone on with ($knobs)" changed 'no longer the one whose first [0-9]+ bytes'
done

# ---- resuming what an earlier attempt left ----
left() { # NAME BYTES-FROM-THE-SERVER-THAT-ARE-NEW OPTION... : out holds the first 40000 bytes
    local name=$1 new=$2
    shift 2
    head -c 40000 want >out
    get offset=40000 "$@"
    whole "$name" want
    is "$name: bytes, and from where" "$got $offset $heads" "$new 1"
}
etag_of() { python3 "$faults_py" body "$@" | md5sum | sed 's/^\([^ ]*\).*/"\1"/'; }
mine=$(etag_of 100000)
left "it goes on" "60000 40000" "etag=$mine" size=100000 "$FAULTS/l1"
left "it goes on where the size is not known" "60000 40000" "etag=$mine" "$FAULTS/l2"
left "of another version it starts over" "100000 0" 'etag="other"' size=100000 "$FAULTS/l3"
left "without a validator it starts over" "100000 0" size=100000 "$FAULTS/l4"
left "of a weak validator it starts over" "100000 0" "etag=W/$mine" size=100000 "$FAULTS/l5"
left "of another size it starts over" "100000 0" "etag=$mine" size=90000 "$FAULTS/l6?x=1"
left "where ranges are ignored the bytes are read over" "60000 40000" "etag=$mine" size=100000 "$FAULTS/l7?range=ignore"
left "where ranges are wrong too" "60000 40000" "etag=$mine" size=100000 "$FAULTS/l8?range=wrong"
left "where ranges are refused too" "60000 40000" "etag=$mine" size=100000 "$FAULTS/l9?range=refuse"
left "where the part has no validator the whole is read over" "60000 40000" "etag=$mine" size=100000 "$FAULTS/l10?range=bare"
left "where If-Range is ignored the ETag is compared" "100000 0" 'etag="other"' "$FAULTS/l11?range=blind"
cp want out
get offset=100000 "etag=$mine" size=100000 "$FAULTS/l12"
whole "an object that is whole already is only compared" want
is "and gives no byte" "$got" 0

fresh "$HTTP/files/big"
head -c 1000000 big >out
get offset=1000000 "etag=$etag" "size=$size" "$HTTP/files/big"
whole "nginx: it goes on" big
is "nginx: with 206" "$got $(tail -n1 "$LOG" | cut -d' ' -f2-)" '2000000 GET /files/big HTTP/1.1 206 bytes=1000000-'
head -c 1000000 big >out
get offset=1000000 "etag=$etag" "size=$size" "$HTTP/norange/big"
whole "nginx without ranges: it reads over" big
head -c 1000000 big >out
get offset=1000000 "modified=$modified" "size=$size" "$HTTP/plain/big"
whole "nginx without ETag: it goes on by the date" big
head -c 1000000 /dev/urandom >"$WWW/new"
cat big >>"$WWW/new"
cp "$WWW/new" new
mv "$WWW/new" "$WWW/big"
head -c 1000000 big >out
get offset=1000000 "etag=$etag" "size=$size" "$HTTP/files/big"
whole "nginx: a changed file starts over" new

# ---- slow servers, slow sinks ----
began=$(now)
fresh stall=1000 connect=1000 "$FAULTS/drip?n=5000&drip=20&etag=none"
fails "a server that drips is timed out" timeout 'fewer than 1024 bytes in (2 s .connect_timeout and stall_timeout|1 s .stall_timeout)'
ok "soon" test "$(since "$began")" -lt 20000
fresh stall=1000 hold=1500 "$HTTP/files/big?held"
whole "a sink that is full for longer does not make it stalled" new
is "so that it is not asked for again" "$(grep -c 'big?held' "$LOG")" 1
began=$(now)
fresh rate=1000000 stall=1000 "$HTTP/files/big?paced"
took=$(since "$began")
whole "a rate limit is no stall" new
ok "and is kept ($took ms)" test "$took" -gt 2500 -a "$took" -lt 30000
is "by one request" "$(grep -c 'big?paced' "$LOG")" 1
fresh rate=6000 stall=1000 "$FAULTS/paced?n=24000"
is "a rate of less than a chunk a second is no stall either" "$rc $got $(asked "/paced?n=24000")" "0 24000 1"
truncate -s 100M "$WWW/huge"
truncate -s 100M huge
fresh "$HTTP/files/huge"
whole "100 MB are fetched" huge
small=40000000
! sanitized "$builddir/tests/fetch_get" || small=400000000
ok "in a small memory ($rss bytes)" test "$rss" -lt $small
truncate -s 20M "$WWW/huge" huge
fresh ca="$CA" hold=1 "$HTTPS/files/huge"
whole "over HTTP/2 into a sink that is full now and then" huge
ok "in a small memory too ($rss bytes)" test "$rss" -lt $small
like "that was HTTP/2" "$(tail -n1 "$LOG")" 'HTTP/2'
rm -f huge out

# ---- proxies ----
expect 100000
fresh proxy="$FAULTS" "http://example.invalid/x?proxied=1"
whole "a proxy is used" want
export http_proxy=$FAULTS
fresh "http://example.invalid/x?proxied=1"
unset http_proxy
whole "the environment's proxy too" want
fresh proxy="$FAULTS" ca="$CA" "$HTTPS/files/small"
whole "https goes through its tunnel" small
is "really" "$(asked CONNECT)" 1
fresh proxy="$FAULTS" "https://denied.invalid/x"
fails "a proxy that wants a password is denied" fetch-denied '407'

# ---- ftp ----
if try_service ftp; then
    cp big small empty "$FTPROOT"
    mkdir "$FTPROOT/folder"
    touch -d '2026-01-02 03:04:05 UTC' "$FTPROOT"/*
    fresh "$FTP/big"
    whole "ftp: a file is fetched" big
    is "ftp: with size and time" "$heads $size $modified" "1 3000000 2026-01-02T03:04:05.000Z"
    fresh "$FTP/empty"
    whole "ftp: an empty one" empty
    fresh user=user password=password "$FTP/big"
    whole "ftp: for a user" big
    fresh user=cut password=password "$FTP/big"
    whole "ftp: connections that die are gone on from" big
    is "ftp: no byte twice" "$got" 3000000
    head -c 1000000 big >out
    get offset=1000000 "size=$size" "modified=$modified" "$FTP/big"
    whole "ftp: what is left is gone on with" big
    is "ftp: from there" "$got $offset" "2000000 1000000"
    head -c 2999999 big >out
    get offset=2999999 "size=$size" "modified=$modified" "$FTP/big"
    whole "ftp: from the last byte" big
    cp big out
    get offset=3000000 "size=$size" "modified=$modified" "$FTP/big"
    whole "ftp: a whole one" big
    cp new "$FTPROOT/big"
    head -c 1000000 big >out
    get offset=1000000 "size=$size" "modified=$modified" "$FTP/big"
    whole "ftp: a changed one starts over" new
    head -c 60000 small >"$FTPROOT/shorter"
    cp small out
    get offset=70000 size=70000 "modified=$modified" "$FTP/shorter"
    ok "ftp: one that has become shorter too" cmp out "$FTPROOT/shorter"
    fresh "$FTP/none"
    fails "ftp: what is not there is missing" fetch-missing '550'
    fresh "$FTP/nofolder/none"
    fails "ftp: in a folder that is not there too" fetch-missing '550'
    fresh "$FTP/folder/"
    fails "ftp: a folder is not a file" not-a-file 'folder'
    fresh "$FTP/folder"
    fails "ftp: nor without its slash" not-a-file 'folder'
    fresh user=user password=hunter2 "$FTP/big"
    fails "ftp: a wrong password is denied" fetch-denied '530'
    fresh user=busy password=password "$FTP/big"
    fails "ftp: a server that is full is busy" fetch-busy '421'
    fresh "ftps://127.0.0.1:${FTP##*:}/big"
    fails "ftps: a server without TLS is refused" tls 'no TLS'
else
    diag "$why"
    skip "$why" 20
fi
if try_service ftps; then
    cp big "$FTPSROOT"
    fresh ca="$FTPSCA" "$FTPS/big"
    whole "ftps: a file is fetched over TLS" big
    fresh "$FTPS/big"
    fails "ftps: not without the CA" tls 'certificate'
    fresh "$FTPSPLAIN/big"
    fails "ftps: not without TLS" fetch-denied '530'
else
    diag "$why"
    skip "$why" 3
fi

# ---- sftp ----
may_log_in() { # as OpenSSH's own client sees it: a locked account may not, whatever the key
    why="$SFTPUSER may not log in here by ssh"
    ssh -q -p "${SFTP##*:}" -i "$SFTPKEY" -o BatchMode=yes -o UserKnownHostsFile="$KNOWN_HOSTS" "$SFTPUSER@127.0.0.1" \
        -s sftp </dev/null >/dev/null
}
if try_service sftp && may_log_in; then
    cp big small empty "$SFTPROOT"
    mkdir "$SFTPROOT/folder"
    touch -d '2026-01-02 03:04:05 UTC' "$SFTPROOT"/*
    me="user=$SFTPUSER" at=$SFTP$SFTPROOT
    fresh "$me" "key=$SFTPKEY" "known_hosts=$KNOWN_HOSTS" "$at/big"
    whole "sftp: a file is fetched by known_hosts" big
    is "sftp: with size and time" "$heads $size $modified" "1 3000000 2026-01-02T03:04:05.000Z"
    fresh "$me" "key=$SFTPKEY" "pin=$HOSTKEY" "$at/small"
    whole "sftp: by the key's hash" small
    fresh "$me" "key=$SFTPKEY" "pin=SHA256:$HOSTKEY" "$at/empty"
    whole "sftp: by the hash as ssh-keygen writes it, an empty one" empty
    fresh "$me" "key=$SFTPKEY" "pin=$(head -c 32 /dev/zero | base64 | tr -d =)" "$at/big"
    fails "sftp: another host key is refused" host-key 'fingerprint'
    ssh-keygen -q -t ed25519 -N '' -f stranger
    sed "s|ssh-ed25519.*|$(cut -d' ' -f1,2 stranger.pub)|" "$KNOWN_HOSTS" >wrong_hosts
    fresh "$me" "key=$SFTPKEY" "known_hosts=$work/wrong_hosts" "$at/big"
    fails "sftp: one that differs from known_hosts too" host-key 'known_hosts'
    : >no_hosts
    fresh "$me" "key=$SFTPKEY" "known_hosts=$work/no_hosts" "$at/big"
    fails "sftp: an unknown host too" host-key 'known_hosts'
    fresh "$me" "key=$SFTPKEY" "$at/big"
    fails "sftp: nothing to check it by" host-key 'which host key is right'
    fresh "$me" "key=$work/stranger" "known_hosts=$KNOWN_HOSTS" "$at/big"
    fails "sftp: a key that is not known is denied" fetch-denied 'login'
    fresh "$me" "key=$SFTPKEY" "known_hosts=$KNOWN_HOSTS" "$at/none"
    fails "sftp: what is not there is missing" fetch-missing 'no such file'
    fresh "$me" "key=$SFTPKEY" "known_hosts=$KNOWN_HOSTS" "$at/folder"
    fails "sftp: a folder is not a file" not-a-file 'folder'
    head -c 1000000 big >out
    get "$me" "key=$SFTPKEY" "known_hosts=$KNOWN_HOSTS" offset=1000000 size=3000000 modified=2026-01-02T03:04:05.000Z "$at/big"
    whole "sftp: what is left is gone on with" big
    is "sftp: from there" "$got $offset" "2000000 1000000"
    cp new "$SFTPROOT/big"
    head -c 1000000 big >out
    get "$me" "key=$SFTPKEY" "known_hosts=$KNOWN_HOSTS" offset=1000000 size=3000000 modified=2026-01-02T03:04:05.000Z "$at/big"
    whole "sftp: a changed one starts over" new
else
    diag "$why"
    skip "$why" 13
fi

# ---- S3 ----
if try_service s3; then
    put() { # FILE KEY, as it stands in a URL
        curl -sf --aws-sigv4 "aws:amz:$S3_REGION:s3" --user "$S3_ACCESS:$S3_SECRET" --path-as-is -T "$1" \
            -H "x-amz-content-sha256: $(sha256sum "$1" | cut -d' ' -f1)" "$S3/bucket/$2" >/dev/null
    }
    head -c 3000000 /dev/urandom >big
    cp big new
    printf x | dd of=new conv=notrunc status=none
    at=("endpoint=$S3" "region=$S3_REGION" "access_key=$S3_ACCESS" "secret_key=$S3_SECRET")
    put big 'in/a%20b%2Bc%25%C3%BC/big'
    fresh "${at[@]}" 's3://bucket/in/a b+c%25ü/big'
    whole "s3: an object is fetched" big
    is "s3: its head is told" "$heads $size $got" "1 3000000 3000000"
    like "s3: its ETag is kept" "$etag" '^"[0-9a-f]{32}"$'
    fresh "${at[@]}" 's3://bucket/in/a%20b%2bc%25%C3%BC/big'
    whole "s3: a key may be written with escapes" big
    fresh "${at[@]}" session_token=lent 's3://bucket/in/a b+c%25ü/big'
    whole "s3: a session token is signed too" big
    echo 'GET 2 cut' >"$S3_FAULTS"
    fresh "${at[@]}" 's3://bucket/in/a b+c%25ü/big'
    whole "s3: what breaks off goes on where it was" big
    is "s3: all three times" "$(tail -n 3 "$S3_LOG" | cut -d' ' -f4 | xargs)" "cut cut -"
    head -c 1000000 big >out
    get "${at[@]}" offset=1000000 size=3000000 "etag=$etag" 's3://bucket/in/a b+c%25ü/big'
    whole "s3: what is left is gone on with" big
    is "s3: from there" "$got $offset" "2000000 1000000"
    put new 'in/a%20b%2Bc%25%C3%BC/big'
    head -c 1000000 big >out
    get "${at[@]}" offset=1000000 size=3000000 "etag=$etag" 's3://bucket/in/a b+c%25ü/big'
    whole "s3: a changed one starts over" new
    fresh "${at[@]}" s3://bucket/none
    fails "s3: what is not there is missing" fetch-missing '404 NoSuchKey'
    fresh "${at[@]}" s3://nobody/none
    fails "s3: so is what is in no bucket" fetch-missing '404 NoSuchBucket'
    fresh "${at[@]}" s3://bucket/
    fails "s3: a bucket is not an object" not-a-file 'bucket'
    fresh "${at[@]}" secret_key=hunter2 s3://bucket/none
    fails "s3: a wrong key is denied" fetch-denied '403 SignatureDoesNotMatch'
    unlike "s3: and not shown" "$facts" 'hunter2'
    fresh "endpoint=$S3" s3://bucket/none
    fails "s3: without a key nothing is signed" fetch-denied '403 AccessDenied'
    echo 'GET 1 503' >"$S3_FAULTS"
    fresh "${at[@]}" s3://bucket/none
    fails "s3: a store that is busy says so" fetch-busy '503 SlowDown'
else
    diag "$why"
    skip "$why" 17
fi
done_testing
