#!/bin/bash
# Folders of real FTP, FTPS and SFTP servers, and of servers that lie: what is found, in how much memory, and what the error says.
. "${srcdir:-.}/tests/lib.sh"
need sqlite3 sqlite3
start_service ftp
start_service ftps
start_service sftp
cd "$work" || exit 99

cat >qetl.ini <<END
[qetl]
database = $work/queue.db
spool = $work/spool
[limits]
connect_timeout = 30s
stall_timeout = 30s
END
remote() { # NAME URL KEY=VALUE...
    printf '[remote %s]\nurl = %s\n' "$1" "$2"
    shift 2
    printf '%s\n' "$@"
}
for user in user plain cut busy up half long round none; do
    cp qetl.ini "$user.ini"
    remote r "$FTP" "user = $user" "password = password" >>"$user.ini"
done
cp user.ini wrong.ini && sed -i 's/^password = .*/password = hunter2/' wrong.ini
cp qetl.ini ftps.ini && remote r "$FTPS" "ca_file = $FTPSCA" >>ftps.ini
cp qetl.ini ftpsplain.ini && remote r "$FTPSPLAIN" >>ftpsplain.ini
cp qetl.ini sftp.ini && remote r "$SFTP" "user = $SFTPUSER" "private_key = $SFTPKEY" "known_hosts = $KNOWN_HOSTS" >>sftp.ini
cp qetl.ini pin.ini && remote r "$SFTP" "user = $SFTPUSER" "private_key = $SFTPKEY" "host_key_sha256 = SHA256:$HOSTKEY" >>pin.ini
cp qetl.ini unknown.ini && remote r "$SFTP" "user = $SFTPUSER" "private_key = $SFTPKEY" >>unknown.ini

# list CONFIG SOURCE...: objects into ./out, the rest as $error, $message, $names, $rss. A status that does not fit what it said is a crash.
list() {
    error='' message='' names='' rss=''
    local config=$1 status wanted=0
    shift
    "$builddir/tests/list_get" "$config.ini" "$@" >out 2>facts
    status=$?
    while IFS='=' read -r key value; do
        case $key in error | message | names | rss) printf -v "$key" '%s' "$value" ;; esac
    done <facts
    [ -z "$error" ] || wanted=1
    ! grep -q '^list_get: ' facts || wanted=2
    [ $status = $wanted ] || { diag "$(cat facts)"; bail "list_get $config $* ended with status $status, not $wanted"; }
    grep -v '^end$' out | sort >found
}
fails() { # NAME CODE REGEX
    if [ "$error" = "$2" ] && grep -Eq -- "$3" <<<"$message"; then result 0 "$1"; else
        result 1 "$1" || diag "wanted $2: $3" "$(cat facts)"
    fi
}
tree() { # ROOT
    mkdir -p "$1/in/sub/deep" "$1/in/other"
    printf 12345 >"$1/in/a.csv"
    printf 123 >"$1/in/a b 'c' %41 é.csv"
    printf x >"$1/in/"$'\xe9\xff'".csv"
    printf x >"$1/in/sub/b.csv"
    printf x >"$1/in/sub/deep/c.csv"
    printf x >"$1/in/note.txt"
    ln -s a.csv "$1/in/link.csv"
    ln -s .. "$1/in/sub/round"
    touch -d '2025-03-04 05:06:07 UTC' "$1/in/a.csv"
    find "$1" -type d -exec chmod 755 {} +
}
tree "$SFTPROOT"
printf x >"$SFTPROOT/in/new"$'\n'"line.csv"
tree "$FTPSROOT"
tree "$FTPROOT"
rm "$FTPROOT/in/link.csv" "$FTPROOT/in/sub/round" # pyftpdlib shows what links lead to
rm "$FTPROOT/in/"$'\xe9\xff'".csv"                 # and ?? for these
stamp=$(date -d '2025-03-04 05:06:07 UTC' +%s)000
day=$(date -d '2025-03-04 UTC' +%s)000

# ---- sftp ----
list sftp "$SFTP$SFTPROOT/in/*.csv"
is "sftp: the files of a folder, and neither links nor folders" "$(cut -d' ' -f1,4- found | sed "s|$SFTP$SFTPROOT/in/||")" \
    "1 %E9%FF.csv
1 new%0Aline.csv
3 a%20b%20%27c%27%20%2541%20%C3%A9.csv
5 a.csv"
is "sftp: times are those of the server, to the second" "$(grep '/a.csv$' found | cut -d' ' -f2,3)" "$stamp 0"
list sftp "$SFTP$SFTPROOT/**.csv"
is "sftp: folders in folders, and no link round in a circle" "$(grep -c . found) $(grep -c deep/c.csv found)" "6 1"
list sftp "$SFTP$SFTPROOT/in/a.csv"
is "sftp: a name without a glob" "$(cut -d' ' -f1,2 found)" "5 $stamp"
list sftp "$SFTP$SFTPROOT/in/s[u]b/*.csv"
is "sftp: only folders that can match" "$(grep -c . found)" 1
list sftp "$SFTP$SFTPROOT/nowhere/*.csv"
fails "sftp: a folder that is not there" fetch-missing 'no such file or folder'
list pin "$SFTP$SFTPROOT/in/*.csv"
is "sftp: a pinned key will do" "$names $error" "4 "
list unknown "$SFTP$SFTPROOT/in/*.csv"
like "sftp: nobody is asked without a known host key" "$(cat facts)" 'needs known_hosts or host_key_sha256'
ssh-keygen -q -t ed25519 -N '' -f other
printf '[127.0.0.1]:%s %s\n' "${SFTP##*:}" "$(cut -d' ' -f1,2 other.pub)" >known_other
sed "s|^known_hosts = .*|known_hosts = $work/known_other|" sftp.ini >changed.ini
list changed "$SFTP$SFTPROOT/in/*.csv"
fails "sftp: a host key that changed" host-key 'not the one in known_hosts'
: >known_none
sed "s|^known_hosts = .*|known_hosts = $work/known_none|" sftp.ini >none_known.ini
list none_known "$SFTP$SFTPROOT/in/*.csv"
fails "sftp: a host that is not in known_hosts" host-key 'not in known_hosts'
sed "s|SHA256:.*|SHA256:AAAA${HOSTKEY#????}|" pin.ini >otherpin.ini
list otherpin "$SFTP$SFTPROOT/in/*.csv"
fails "sftp: a pin of another key" host-key 'host_key_sha256'
sed "s|^private_key = .*|private_key = $work/other|" sftp.ini >stranger.ini
list stranger "$SFTP$SFTPROOT/in/*.csv"
fails "sftp: a key that the server does not know" fetch-denied 'refused the login'
list sftp "$SFTP/" exists "$SFTPROOT/in/a.csv"
is "sftp: a marker is there" "$(cat out)" "exists=1"
list sftp "$SFTP/" exists "$SFTPROOT/in/b.csv"
is "sftp: another is not" "$(cat out)" "exists=0"

# ---- ftp: MLSD, and LIST where there is none ----
for user in user plain; do
    list $user "$FTP/in/*.csv"
    is "ftp as $user: the files of a folder" "$(cut -d' ' -f1,4- found | sed "s|$FTP/in/||")" \
        "3 a%20b%20%27c%27%20%2541%20%C3%A9.csv
5 a.csv"
    list $user "$FTP/**.csv"
    is "ftp as $user: folders in folders" "$(grep -c . found) $(grep -c /sub/deep/c.csv found)" "4 1"
    list $user "$FTP/nowhere/*.csv"
    fails "ftp as $user: a folder that is not there" fetch-missing 'no such folder'
    list $user "$FTP/in/a.csv"
    is "ftp as $user: a name without a glob" "$(cut -d' ' -f1,2 found)" "5 $stamp"
    list $user "$FTP/in/nothing.csv"
    is "ftp as $user: one that is not there" "$names $error" "0 "
    list $user "$FTP/" exists /in/sub/b.csv
    is "ftp as $user: a marker is there" "$(cat out)" "exists=1"
    list $user "$FTP/" exists /in/sub/a.csv
    is "ftp as $user: another is not" "$(cat out)" "exists=0"
done
list user "$FTP/in/*.csv"
is "MLSD tells times to the second" "$(grep '/a.csv$' found | cut -d' ' -f2,3)" "$stamp 1000"
list plain "$FTP/in/*.csv"
is "LIST tells old times to the day, and says so" "$(grep '/a.csv$' found | cut -d' ' -f2,3)" "$day 86400000"
list wrong "$FTP/in/*.csv"
fails "a wrong password" fetch-denied 'refused the login'
unlike "is not shown" "$(cat facts)" hunter2
list busy "$FTP/in/*.csv"
fails "a server that takes no more users" fetch-busy 421

# ---- ftps, by vsftpd, which has no MLSD ----
list ftps "$FTPS/in/*.csv"
is "ftps: the files of a folder, and no links" "$(cut -d' ' -f1,4- found | sed "s|$FTPS/in/||")" \
    "1 %E9%FF.csv
3 a%20b%20%27c%27%20%2541%20%C3%A9.csv
5 a.csv"
like "... of which it can tell" "$(cat facts)" 'no_file=.*/in/link.csv no file: a link is not followed'
list ftps "$FTPS/**.csv"
is "ftps: folders in folders" "$(grep -c . found)" 5
list ftpsplain "$FTPSPLAIN/in/*.csv"
fails "a server that insists on TLS lets nobody in without" fetch-denied ''
cp qetl.ini noca.ini && remote r "$FTPS" >>noca.ini
list noca "$FTPS/in/*.csv"
fails "a certificate of nobody" tls 'certificate'

# ---- servers that lie, or break off ----
list up "$FTP/in/*.csv"
fails "a name that leads out of the folder" fetch-refused 'slash'
list half "$FTP/in/*.csv"
fails "a listing that ends in the middle of a name" fetch 'middle of a line'
list long "$FTP/in/*.csv"
fails "a line of a megabyte" fetch-refused 'a line of more than'
mkdir -p "$FTPROOT/loop/$(printf 'round/%.0s' {1..70})"
list round "$FTP/loop/**.csv"
fails "a folder inside of itself" limit 'deeper than'
list none "$FTP/in/*.csv"
is "an empty folder is none of them" "$names $error" "0 "

# ---- many ----
mkdir -m 755 "$FTPROOT/many" "$SFTPROOT/many"
(cd "$FTPROOT/many" && seq -f 'file-%06g.csv' 10000 | xargs touch)
(cd "$SFTPROOT/many" && seq -f 'file-%06g.csv' 10000 | xargs touch)
export QUIET=1 ASAN_OPTIONS="${ASAN_OPTIONS:-}:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"
list user "$FTP/in/*.csv"
small=$rss
list user "$FTP/many/*.csv"
is "ftp: 10000 files" "$names" 10000
is "in the memory of three" "$((rss < small + 2000000 ? 1 : rss))" 1
list plain "$FTP/many/*.csv"
is "ftp, LIST: 10000 files" "$names" 10000
list sftp "$SFTP$SFTPROOT/in/*.csv"
small=$rss
list sftp "$SFTP$SFTPROOT/many/*.csv"
is "sftp: 10000 files" "$names" 10000
is "in the memory of four" "$((rss < small + 2000000 ? 1 : rss))" 1
unset QUIET
list cut "$FTP/many/*.csv"
like "a listing that breaks off is an error" "$error" '^(fetch|timeout)$'
ok "that has given what it found" [ "$names" -gt 0 ] && ok "which is not all" [ "$names" -lt 10000 ]

# ---- a server that is restarted between two listings ----
again() { # NAME CONFIG SOURCE
    mkfifo "$1.in"
    "$builddir/tests/list_get" "$2.ini" "$3" 2 <"$1.in" >"$1.out" 2>"$1.facts" &
    local pid=$!
    exec 5>"$1.in"
    timeout 60 sh -c "until grep -q '^end' '$1.out'; do sleep 0.1; done"
    "$srcdir/tests/services/$1" stop "$work/$1"
    "$srcdir/tests/services/$1" start "$work/$1" >/dev/null
    echo >&5
    exec 5>&-
    wait $pid
    is "$1: a server that was restarted is listed again" $? 0
    is "$1: with the same objects" "$(grep -c . "$1.out")" $((2 * $4 + 2))
}
again ftp user "$FTP/in/*.csv" 2
again sftp sftp "$SFTP$SFTPROOT/in/*.csv" 4

# ---- from a folder there to rows here ----
mkdir -m 755 "$FTPROOT/orders" "$SFTPROOT/orders"
for root in "$FTPROOT" "$SFTPROOT"; do
    for i in 1 2 3; do printf 'id,name\n%s,n%s\n' $i $i >"$root/orders/o-$i.csv"; done
done
{
    cat sftp.ini
    remote f "$FTP" "user = plain" "password = password"
    printf '[target w]\nurl = sqlite:%s\n' "$work/w.db"
    for p in ftp sftp; do
        root=$FTP
        [ $p = ftp ] || root=$SFTP$SFTPROOT
        printf '[pipeline %s]\nsource = %s/orders/*.csv\nevery = 1h\nsettle = 0\ntable = w.%s\nmode = append\n' $p "$root" $p
    done
} >scan.ini
export QETL_CONFIG=$work/scan.ini
ok "the sources are scanned, and what was found is loaded" "$bin/qetl" drain --scan
is "once each" "$(sqlite3 w.db 'select count(*), count(distinct id) from ftp union all select count(*), count(distinct id) from sftp' | tr '\n' ' ')" \
    "3|3 3|3 "
printf 'id,name\n4,n4\n' >"$SFTPROOT/orders/o-4.csv"
cp "$SFTPROOT/orders/o-4.csv" "$FTPROOT/orders/"
ok "a scan finds what is new" "$bin/qetl" drain --scan
is "and nothing else" "$(sqlite3 w.db 'select count(*), count(distinct id) from ftp union all select count(*), count(distinct id) from sftp' | tr '\n' ' ')" \
    "4|4 4|4 "
done_testing
