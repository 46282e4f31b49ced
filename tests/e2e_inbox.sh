#!/bin/bash
# A folder where other programs trigger jobs: what is renamed in becomes jobs, once, whatever dies; what is no message says why.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq

files() { find "$site/inbox/$1" -maxdepth 1 -type f -printf '%f\n' | sort | tr '\n' ' '; }
drop() { printf '%s\n' "$2" >"$site/inbox/$1.tmp" && mv "$site/inbox/$1.tmp" "$site/inbox/$1"; }

site_with() {
    new_site <<INI
[scanner]
inbox = inbox
$1
[pipeline p]
columns = id:integer!
table   = warehouse.p
INI
    for i in 1 2 3; do printf 'id\n%s\n' "$i" >"$site/$i.csv"; done
}
message() { printf '{"pipeline":"p","objects":["%s/%s.csv"]}' "$site" "$1"; }

# ---- by drain ----

site_with ''
ok 'the folder is made' drain
is 'for its group to write in, whatever the umask' "$(stat -c %a "$site/inbox")" 770
drop one.json "$(message 1)"
drop lines.json "$(message 2)
$(message 3)

{\"method\":\"p\",\"params\":{\"a\":1},\"objects\":[\"$site/1.csv\"]}"
printf '{\n  "pipeline": "p",\n  "objects": ["%s/2.csv"]\n}' "$site" >"$site/inbox/.x" && mv "$site/inbox/.x" "$site/inbox/pretty.json"
message 3 >"$site/inbox/half.json.part"
message 3 >"$site/inbox/half.tmp"
message 3 >"$site/inbox/.hidden.json"
message 3 >"$site/inbox/other.txt"
ok 'a drain takes what lies there' drain
is 'each message is its jobs' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)')" 1,1,2,2,3
is 'the files are put away' "$(files "done")" 'lines.json one.json pretty.json '
is 'names of another kind are left alone' "$(files .)" '.hidden.json half.json.part half.tmp other.txt '
ok 'another message of the same name and content' drop one.json "$(message 1)"
drain
is 'is another job' "$(sql 'SELECT count(*) FROM p WHERE id = 1')" 3
is 'and its file overwrites nothing' "$(find "$site/inbox/done" -name '*one.json' | wc -l)" 2
is 'nothing is remembered of what was put away' "$(queue_sql 'SELECT count(*) FROM inbox')" 0

# ---- what is no message ----

drop typo.json '{"pipelin":"p"}'
drop nobody.json '{"pipeline":"q"}'
drop second.json "$(message 1)
{\"pipeline\":\"p\",\"objects\":[\"gopher://x\"]}"
drop empty.json ''
drop binary.json "$(printf '\377\376{')"
head -c 5000000 /dev/zero | tr '\0' ' ' >"$site/inbox/huge.tmp" && mv "$site/inbox/huge.tmp" "$site/inbox/huge.json"
ln -s "$site/qetl.ini" "$site/inbox/link.json"
mkfifo "$site/inbox/fifo.json"
mkdir "$site/inbox/folder.json"
before=$(queue_sql 'SELECT count(*) FROM job')
drain
is 'none becomes a job, not even its good lines' "$(queue_sql 'SELECT count(*) FROM job')" "$before"
is 'all have failed' "$(find "$site/inbox/failed" -mindepth 1 -maxdepth 1 ! -name '*.error' | wc -l)" 9
like 'with the reason beside them' "$(cat "$site/inbox/failed/typo.json.error")" 'unknown key "pipelin".*\[usage\]'
like 'an unknown pipeline' "$(cat "$site/inbox/failed/nobody.json.error")" 'no .pipeline q.'
like 'the line' "$(cat "$site/inbox/failed/second.json.error")" 'line 2: .*gopher'
like 'an empty one' "$(cat "$site/inbox/failed/empty.json.error")" 'no message'
like 'a huge one' "$(cat "$site/inbox/failed/huge.json.error")" 'at most 4194304 bytes'
like 'a link is not followed' "$(cat "$site/inbox/failed/link.json.error")" 'regular file'
like 'a FIFO is not waited for' "$(cat "$site/inbox/failed/fifo.json.error")" 'regular file'
is 'nothing is left in between' "$(files taken)" ''

# ---- killed wherever it can be ----

site_with 'inbox_done = delete'
mkdir "$site/inbox"
for i in $(seq 1 1200); do printf '{"pipeline":"p","params":{"n":%s},"objects":["%s/1.csv"]}' "$i" "$site" >"$site/inbox/$i.json"; done
drop bad.json nonsense
killed=0
for fault in inbox-taken:1 queue-before-commit:3 queue-before-commit:4 queue-after-commit:3 queue-after-commit:4 inbox-put-away:1 inbox-put-away:70 \
    inbox-put-away:400 queue-before-commit:5 inbox-taken:2 inbox-put-away:499 inbox-put-away:500 queue-after-commit:5; do
    { (QETL_FAULT=$fault:kill qetl drain --scan) >"$work/out" 2>&1; } 2>/dev/null
    [ $? = 137 ] && killed=$((killed + 1))
done
ok 'it was killed in many places' test "$killed" -gt 8
ok 'the next one ends the work' drain
is 'each message is one job' "$(queue_sql "SELECT count(*), count(DISTINCT params) FROM job_text")" '1200|1200'
is 'the messages are gone' "$(files .)$(files taken)$(files "done")" ''
is 'but for the one that failed' "$(files failed)" 'bad.json bad.json.error '
is 'nothing is remembered' "$(queue_sql 'SELECT count(*) FROM inbox')" 0

# ---- at once, many, under a hostile umask ----

site_with ''
qetlctl init >"$work/out"
start_role worker
start_role loader
mask=$(umask)
umask 0777
start_role scanner
umask "$mask"
ok 'the scanner makes its folders' wait_for 60 test -d "$site/inbox/failed"
drop now.json "$(message 1)"
ok 'a message becomes rows at once' wait_for 60 rows_are 'SELECT count(*) FROM p' 1
mkdir "$site/many"
for i in $(seq 1 10000); do echo '{"pipeline":"p","at":"2099-01-01T00:00:00Z","objects":["/x"]}' >"$site/many/$i.json"; done
mv "$site/many"/*.json "$site/inbox/" 2>/dev/null # each goes before mv has looked back
ok 'ten thousand at once' wait_for 300 queue_is 'SELECT count(*) FROM job' 10001
all_done() { [ "$(find "$site/inbox/done" -name '*.json' | wc -l)" = 10001 ]; }
ok 'are put away' wait_for 120 all_done
stop_roles
start_role all
message 2 >"$site/inbox/direct.json"
ok 'for the inbox alone all runs a scanner; what was written under its name is taken when it has settled' wait_for 60 rows_are 'SELECT max(id) FROM p' 2
stop_roles
done_testing
