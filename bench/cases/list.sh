# 100,000 known objects looked through on each far lister: index page, manifest, S3, FTP, SFTP
# shellcheck shell=bash
case_list() {
    list_n=$(scaled 100000)
    ! list_serve http || { list_page; list_manifest; }
    ! list_serve s3list || list_bucket
    ! list_serve ftp || list_ftp
    ! list_serve sftp || list_sftp
}

# A server of the tests, whose KEY=VALUE lines become variables; false if it is not installed.
list_serve() { # SERVICE
    local key value facts
    facts=$("$top/tests/services/$1" start "$data/$1" 2>"$work/log") || { echo "  $1: $(tail -n 1 "$work/log")" >>"$work/skipped"; return 1; }
    servers+=("$(cat "$data/$1/pid")")
    while IFS='=' read -r key value; do printf -v "$key" '%s' "$value"; done <<<"$facts"
}
list_names() { seq -f 'object-of-the-list-%07g.csv' 0 $((list_n - 1)); }
list_files() { mkdir -p "$1" && chmod 755 "$1" && (cd "$1" && list_names | xargs touch); }
list_site() { # SOURCE REMOTE-LINE...
    local source=$1
    shift
    rm -rf "$site"
    mkdir -p "$site"
    {
        printf '%s\n' '[qetl]' "database = $site/queue.db" "spool = $site/spool" 'log_level = warn' '[target w]' "url = sqlite://$site/w.db"
        [ $# = 0 ] || printf '%s\n' '[remote r]' "$@"
        printf '%s\n' '[pipeline p]' "source = $source" 'every = 1h' 'settle = 0' "${list_more:-forget = 90d}" 'columns = id:integer!' 'table = w.p'
    } >"$site/qetl.ini"
    qetlctl scan p
}
list_race() { # FIGURE: its site is made
    contender qetl qetl '' list_scan
    race "$1" "$list_n" objects/s
}
list_scan() { qetlctl scan p; }
list_scan_rows() { sqlite3 -readonly "$site/queue.db" 'SELECT listed FROM scan'; }
list_curl() { curl -sS --fail -o /dev/null "$list_url"; }

list_page() {
    mkdir -p "$WWW/many"
    { echo '<html><pre>'; list_names | awk '{ printf "<a href=\"%s\">%s</a> 01-Jan-2026 00:00 5\n", $1, $1 }'; echo '</pre></html>'; } >"$WWW/many/index.html"
    list_url=$HTTP/files/many/
    quiet list_site "$HTTP/files/many/*.csv"
    contender limit curl 'curl' list_curl
    list_race 'an index page that did not change'
    list_more='on_change = reload' # so that it is read each time
    quiet list_site "$HTTP/files/many/*.csv"
    contender limit curl 'curl' list_curl
    list_race 'an index page'
    list_more=''
}
list_manifest() {
    list_names >"$WWW/many/list.txt"
    list_url=$HTTP/plain/many/list.txt
    quiet list_site "manifest+$HTTP/bare/many/list.txt" # without validators: it is read each time
    contender limit curl 'curl' list_curl
    list_race 'a manifest'
}
list_bucket() {
    quiet list_site "s3://$list_n/in/*.csv" "url = s3://$list_n" "endpoint = $S3LIST"
    list_race 'a bucket'
}
list_ftp() {
    list_files "$FTPROOT/many"
    quiet list_site "$FTP/many/*.csv" "url = $FTP" 'user = user' 'password = password'
    list_url=ftp://user:password@${FTP#ftp://}/many/
    contender limit 'curl, LIST' 'curl' list_curl
    list_race 'a folder by FTP'
}
list_sftp() {
    list_files "$SFTPROOT/many"
    list_batch="ls -1f $SFTPROOT/many"
    quiet list_site "$SFTP$SFTPROOT/many/*.csv" "url = $SFTP" "user = $SFTPUSER" "private_key = $SFTPKEY" "known_hosts = $KNOWN_HOSTS"
    contender limit sftp 'sftp' list_by_sftp
    list_race 'a folder by SFTP'
}
list_by_sftp() {
    echo "$list_batch" | sftp -q -b - -P "${SFTP##*:}" -i "$SFTPKEY" -o "UserKnownHostsFile=$KNOWN_HOSTS" "$SFTPUSER@127.0.0.1" >/dev/null
}
