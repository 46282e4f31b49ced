#!/bin/bash
# after = delete and move on FTP and SFTP servers: done behind the commit, again until it is done, and never to another object.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
start_service ftp
start_service sftp
has_ftps=yes no_ftps=''
try_service ftps || { has_ftps=no no_ftps=$why; }
chmod 755 "$SFTPROOT"

done_with() { queue_is 'SELECT count(*) FROM seen WHERE after > 0' "${1:-0}"; }
scanned() { # URL-OF-FOLDER REMOTE-LINES AFTER
    new_site <<INI
$([ -z "$2" ] || printf '[remote r]\nurl = %s\n%s\n' "${1%"$SFTPROOT"}" "$2")
[pipeline p]
source  = $1/in/*.csv
every   = 1h
settle  = 0
after   = $3
columns = id:integer!
table   = warehouse.p
INI
}
has() { (cd "$1" && find . -type f | sort | tr '\n' ' '); }
nothing_in() { [ -z "$(has "$1")" ]; }
told() { grep -q "after= could not be done.*$1" "$site"/*.log; }

places() { # NAME: $url, $root, $lines
    case $1 in
    local) url=$work/local root=$work/local lines='' ;;
    ftp) url=$FTP root=$FTPROOT lines=$'user = user\npassword = password' ;;
    'ftp by LIST') url=$FTP root=$FTPROOT lines=$'user = plain\npassword = password' ;;
    ftps) url=$FTPS root=$FTPSROOT lines="ca_file = $FTPSCA" ;;
    sftp) url=$SFTP$SFTPROOT root=$SFTPROOT lines="user = $SFTPUSER"$'\n'"private_key = $SFTPKEY"$'\n'"known_hosts = $KNOWN_HOSTS" ;;
    esac
    rm -rf "$root/in" "$root/done"
    mkdir -p "$root/in"
    [ "$1" != ftps ] || chmod 777 "$root" "$root/in"
}

marked() { # of $place: objects with a marker of their own
    local after told
    places "$place"
    for after in delete "move:$url/done"; do
        places "$place"
        scanned "$url" "$lines" "$after"
        echo 'done_marker = *.done' >>"$QETL_CONFIG"
        put "$root/in/a.csv" 1
        touch "$root/in/a.csv.done"
        drain
        is "$place, $after: a marker of its own goes with its object" "$(has "$root/in")|$([ "$after" = delete ] || has "$root/done")" \
            "|$([ "$after" = delete ] || echo './a.csv ./a.csv.done ')"
    done
    touch -d '1 hour ago' "$root/in/a.csv.done" # of yesterday's object, say
    put "$root/in/a.csv" 2
    told=1
    case $place in 'ftp by LIST' | ftps) told=2 ;; esac # whose times have no seconds, and no zone
    drain
    is "$place: one that is older than its object does not count" "$(sql 'SELECT count(*) FROM p')" $told
    touch "$root/in/a.csv.done"
    drain
    is "$place: until it is written anew" "$(sql 'SELECT count(*) FROM p') $(has "$root/in" | grep -c 'a.csv ')" '2 0'
}
place=local
marked

for place in ftp 'ftp by LIST' ftps sftp; do
    [ "$place$has_ftps" != ftpsno ] || { skip "$no_ftps" 16; continue; }
    marked

    # ---- delete ----
    places "$place"
    scanned "$url" "$lines" delete
    put "$root/in/a b%20.csv" 1
    put "$root/in/old.csv" 2
    touch -d '2021-03-04 05:06:07 UTC' "$root/in/old.csv"
    start_role all
    ok "$place: what is there is loaded" wait_for 60 rows_are 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)' 1,2
    ok "$place: and deleted" wait_for 60 nothing_in "$root/in"
    stop_roles

    # ---- changed in between ----
    places "$place"
    scanned "$url" "$lines" delete
    put "$root/in/c.csv" 1
    qetlctl scan p >"$work/out" 2>&1
    start_role worker
    start_role loader
    ok "$place: an object is loaded, and no scanner is there" wait_for 60 rows_are 'SELECT count(*) FROM p' 1
    put "$root/in/c.csv" 7 # of the same size
    touch -d '2024-05-06 07:08:09 UTC' "$root/in/c.csv"
    start_role scanner
    ok "$place: one that changed since is done with" wait_for 60 done_with
    is "$place: and stays" "$(has "$root/in") $(tail -1 "$root/in/c.csv")" './c.csv  7'
    stop_roles

    # ---- move, killed between the two renames ----
    places "$place"
    scanned "$url" "$lines" "move:$url/done/deep"
    put "$root/in/m.csv" 1
    qetlctl scan p >"$work/out" 2>&1
    start_role worker
    start_role loader
    ok "$place: an object is loaded that is to be moved" wait_for 60 done_with 1
    wait_for 60 queue_is 'SELECT count(*) FROM seen WHERE after = 2' 1
    QETL_FAULT=after-renamed:1:kill start_role scanner
    killed=$role_pid
    ok "$place: a scanner that is killed between its steps goes on" wait_for 60 done_with
    ok "$place: it was killed" grep -q 'error=.*died: Killed' "$site/scanner.log"
    kill "$killed"
    wait "$killed" 2>/dev/null
    put "$root/in/m.csv" 2
    start_role scanner
    is "$place: the first one was moved" "$(tail -1 "$root/done/deep/m.csv")" 1
    qetlctl scan p >"$work/out" 2>&1
    ok "$place: another one of its name is loaded" wait_for 60 rows_are 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)' 1,2
    ok "$place: and moved" wait_for 60 done_with
    is "$place: over nothing" "$(has "$root" | wc -w) $(tail -qn1 "$root"/done/deep/* | sort | tr '\n' ' ')" '2 1 2 '
    stop_roles

    # ---- killed when a changed one is under our name: it is put back ----
    places "$place"
    scanned "$url" "$lines" delete
    put "$root/in/b.csv" 1
    qetlctl scan p >"$work/out" 2>&1
    start_role worker
    start_role loader
    wait_for 60 queue_is 'SELECT count(*) FROM seen WHERE after = 2' 1
    put "$root/in/.b.csv.qetl-$(queue_sql 'SELECT job FROM seen WHERE after = 2')" 99
    rm "$root/in/b.csv"
    start_role scanner
    ok "$place: another object under our name" wait_for 60 done_with
    is "$place: is put back" "$(has "$root/in") $(tail -1 "$root/in/b.csv")" './b.csv  99'
    stop_roles
done

# ---- a [remote] of one folder, beside one of the whole host that is not let in: all that is asked below it is asked by its section ----

for place in ftp 'ftp by LIST' sftp; do
    places "$place"
    mkdir -p "$root/in/a b/deep"
    wrong=$(sed 's/^password = .*/password = no/; s/^user = .*/user = nobody-here/' <<<"$lines")
    new_site <<INI
[remote all]
url = ${url%"$SFTPROOT"}
$wrong
[remote one]
url = $url/in/a%20b
$lines
connections = 1
[pipeline p]
source  = $url/in/a b/**.csv
every   = 1h
settle  = 0
done_marker = *.ok
after   = move:$url/in/done
columns = id:integer!
table   = warehouse.p
[pipeline other]
source  = $url/in/other/*.csv
every   = 1h
columns = id:integer!
table   = warehouse.other
INI
    put "$root/in/a b/1.csv" 1
    put "$root/in/a b/deep/2.csv" 2
    touch "$root/in/a b/1.csv.ok" "$root/in/a b/deep/2.csv.ok"
    like "$place: doctor asks each folder by its own section" "$(qetlctl doctor 2>&1 | grep '^source of ' | tr -s ' ' | cut -d' ' -f3,4 | sort | tr '\n' ' ')" '^other no p yes $'
    timeout 120 qetl drain --scan --max-wait 1s 2>"$work/drain" # "other" is not to be had
    like "$place: what lies below a folder with a section of its own is listed, asked for its markers, fetched and loaded" \
        "$(cat "$work/drain")" 'qetl: p: 2 jobs loaded, 0 dead'
    is "$place: with its rows" "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)')" 1,2
    timeout 120 qetl drain --scan --max-wait 1s >"$work/drain" 2>&1
    is "$place: and moved" "$(has "$root/in/done")" './1.csv ./1.csv.ok ./2.csv ./2.csv.ok '
    is "$place: the limits of that section bind its jobs" "$(queue_sql "SELECT DISTINCT remote FROM job WHERE pipeline = 'p'")" one
    put "$root/in/a b/3.csv" 3
    touch "$root/in/a b/3.csv.ok"
    sqlite3 "$site/queue.db" "UPDATE remote SET held_until = $(($(date +%s) * 1000 + 3600000)), held_why = 'it is busy' WHERE name = 'one'"
    like "$place: and its listings" "$(qetlctl scan p)" "'one' is not listed now: it asked to be left alone: it is busy"
done

# ---- the server refuses ----

places ftp
scanned "$FTP" $'user = anonymous\npassword = x' delete
put "$root/in/r.csv" 1
start_role all
ok 'a server that refuses is told of, with commands and path' \
    wait_for 60 told "code=fetch-refused .*r.csv: RNFR, RNTO '[^']*' (and MKD of its folder): .*the server refuses it"
ok 'the rows are there' rows_are 'SELECT count(*) FROM p' 1
put "$root/in/s.csv" 2
qetlctl scan p >"$work/out" 2>&1
ok 'what comes then is loaded all the same' wait_for 60 rows_are 'SELECT count(*) FROM p' 2
is 'the objects stay' "$(has "$root/in")" './r.csv ./s.csv '
stop_roles
sed -i 's/^user = .*/user = user/; s/^password = .*/password = password/' "$site/qetl.ini"
start_role all
ok 'where it may, it is done' wait_for 60 done_with
is 'and nothing is left there' "$(has "$root/in")" ''
is 'each was loaded once' "$(sql 'SELECT count(*) FROM p')" 2
stop_roles

# ---- what is left to do is told: by status and show, and in the log once and not for each object at each try ----

work_left() { qetlctl --json status | jq -e ".after | length == $1" >/dev/null; }
left() { qetlctl --json status | jq -c '.after[0] | [.pipeline, .after, .objects, .failures >= 2, .code]'; }
places local
touch "$work/file"
scanned "$url" '' "move:$work/file/done"
for i in 1 2 3; do put "$root/in/$i.csv" $i; done
drain
is 'a drain that leaves work for after= says who tells' "$? $(grep -c 'still to be done at 1 source (qetlctl status says why)' "$work/drain")" '1 1'
start_role scanner
twice() { [ "$(qetlctl --json status | jq '.after[0].failures')" -ge 4 ]; }
ok 'it is tried again' wait_for 60 twice
is 'status says of how many objects, and why' "$(left)" '["p","move",3,true,"io"]'
is 'and since when' "$(qetlctl --json status | jq -r '.after[0].since')" "$(qetlctl --json show 1 | jq -r '.job.finished')"
like 'for people, too' "$(qetlctl status)" "p +move +3 +20[0-9-]+ [0-9:]+Z +[0-9]+ +io +make the folder '$work/file/done'"
is 'show says so of its object' "$(qetlctl --json show 2 | jq -c '[.objects[0].after, (.after | length)]')" '["to do",1]'
is 'the log says it once' "$(grep -c 'after= could not be done' "$site/scanner.log")" 1
rm "$work/file"
ok 'when it can be done it is' wait_for 60 done_with
ok 'and status says nothing of it' wait_for 60 work_left 0
is 'nor does show' "$(qetlctl --json show 2 | jq -c '[.objects[0].after, .after]')" '[null,[]]'
ok 'the log says that it is over' wait_for 60 grep -q 'after= that could not be done is done pipeline=p failures=' "$site/scanner.log"
stop_roles
rm -r "$work/file"

# ---- a place that wants to be left alone, which binds after=, too ----

places ftp
scanned "$FTP" "$lines"$'\nconnections = 1' delete
put "$root/in/h.csv" 1
qetlctl scan p >"$work/out" 2>&1
hold() { sqlite3 "$site/queue.db" "INSERT INTO remote (name, held_until, held_why) VALUES ('r', $1, 'it is busy')
    ON CONFLICT (name) DO UPDATE SET held_until = excluded.held_until"; }
start_role worker
start_role loader
wait_for 60 queue_is 'SELECT count(*) FROM seen WHERE after = 2' 1
stop_roles
hold "$(($(date +%s) * 1000 + 3600000))"
timeout 60 qetl drain --scan --max-wait 1s 2>"$work/drain"
is 'while it does nothing is deleted' "$(has "$root/in") $(queue_sql 'SELECT count(*) FROM seen WHERE after = 2')" './h.csv  1'
hold 0
timeout 60 qetl drain --scan --max-wait 1s 2>"$work/drain"
is 'when it may be asked it is' "$(has "$root/in") $(queue_sql 'SELECT count(*) FROM seen WHERE after > 0')" ' 0'
is 'and no connection is left taken' "$(queue_sql "SELECT listing FROM remote WHERE name = 'r'")" 0

# ---- a server that lets us in once at a time: listings, fetches and after= leave nothing open behind them ----

places ftp
scanned "$FTP" $'user = one\npassword = password\nconnections = 1' keep
sed -i 's/^every .*/every = 1s/; s/^slots = .*/slots = 2/; /^settle/a done_marker = *.ok' "$site/qetl.ini"
for i in 1 2 3; do put "$root/in/$i.csv" "$i" && touch "$root/in/$i.csv.ok"; done
start_role all
ok 'a server with one connection for us is scanned and fetched from' wait_for 60 rows_are 'SELECT count(*), sum(id) FROM p' '3|6'
for i in 4 5 6; do put "$root/in/$i.csv" "$i" && touch "$root/in/$i.csv.ok"; done
ok 'again and again' wait_for 60 rows_are 'SELECT count(*), sum(id) FROM p' '6|21'
is 'and was never asked for a second one' "$(queue_sql 'SELECT count(*) FROM error') $(grep -c 421 "$site/all.log")" '0 0'
stop_roles

# ---- what the ini may say ----

bad() { # AFTER SOURCE
    new_site <<INI
[pipeline p]
source = $2
every = 1h
after = $1
columns = id:integer
table = warehouse.p
INI
    qetlctl status 2>&1
}
like 'a web server deletes nothing' "$(bad delete 'http://127.0.0.1/in/*.csv')" 'only local files and those of'
like 'nothing is moved to another host' "$(bad move:ftp://b/done 'ftp://a/in/*.csv')" 'expected move:ftp://a/FOLDER'
like 'nor from here to one' "$(bad move:ftp://b/done '/in/*.csv')" 'expected move: and a local folder'
done_testing
