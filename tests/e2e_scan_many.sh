#!/bin/bash
# A listing of 100,000 objects with long names, on each lister, under a limit that the kernel keeps (RLIMIT_DATA): all of the memory that a
# process has for itself. Their names alone would not fit in it.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
! sanitized "$bin/qetl" || skip_all 'memory of a sanitized build is no measure'

many=100000 limit=24576 groups='' # KiB
long=$(printf 'x%.0s' $(seq 200))
export S3LIST_NAME=212
site() { # SOURCE REMOTE-LINES
    new_site <<INI
${2:+[remote r]}
$2
[pipeline p]
source  = $1
every   = 1h
settle  = 0
columns = id:integer!
table   = warehouse.p
$groups
INI
    qetlctl init >/dev/null
}
limited() { (ulimit -d "$limit" && "$@"); }
scans() { # NAME: twice, of new and of known objects
    ok "$1: $many new objects become jobs" limited qetlctl scan p
    is "$1: each one of them" "$(queue_sql 'SELECT count(*) FROM object')" $many
    ok "$1: and are known at the next look" limited qetlctl scan p
    is "$1: all of them" "$(queue_sql 'SELECT listed, found, waiting FROM scan')" "$many|0|0"
}
files() { mv "$files" "$1" && files=$1; } # the same ones for each server

# ---- the limit is one ----

files=$work/in
mkdir -m 755 "$files"
(cd "$files" && seq -f "$long%06g.csv" 0 $((many - 1)) | xargs touch)
site "$work/in/*.csv" ''
limit=2048
ok 'the limit is kept: with too little of it there is no scan' test "$(limited qetlctl scan p >/dev/null 2>&1; echo $?)" -ne 0
limit=24576
scans 'a local folder'

# ---- a page of a web server, and a manifest ----

groups='group_files = 1000' # jobs are not what is tested

if try_service http; then
    mkdir -p "$WWW/many"
    {
        printf '<html><body><pre><a href="../">../</a>\n'
        seq -f "$long%06g.csv" 0 $((many - 1)) | awk '{ printf "<a href=\"%s\">%s</a> 01-Jan-2026 00:00 5\n", $1, $1 }'
        printf '</pre></body></html>\n'
    } >"$WWW/many/index.html"
    seq -f "$long%06g.csv" 0 $((many - 1)) >"$WWW/many/list.txt"
    site "$HTTP/files/many/*.csv" ''
    scans 'a page'
    site "manifest+$HTTP/files/many/list.txt" ''
    scans 'a manifest'
else
    skip "$why" 8
fi

# ---- a bucket ----

if grep -q '^#define HAVE_S3 1' "$builddir/config.h" && try_service s3list; then
    site "s3://$many/in/*.csv" "url = s3://$many
endpoint = $S3LIST"
    scans 'a bucket'
else
    skip "S3: ${why:-built without it}" 4
fi

# ---- folders of FTP and SFTP servers ----

if try_service ftp; then
    files "$FTPROOT/many"
    site "$FTP/many/*.csv" "url = $FTP
user = user
password = password"
    scans FTP
else
    skip "$why" 4
fi
if try_service sftp; then
    files "$SFTPROOT/many"
    site "$SFTP$SFTPROOT/many/*.csv" "url = $SFTP
user = $SFTPUSER
private_key = $SFTPKEY
known_hosts = $KNOWN_HOSTS"
    scans SFTP
else
    skip "$why" 4
fi
done_testing
