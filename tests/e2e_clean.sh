#!/bin/bash
# clean= from the ini to the table: in the reader's sandbox, for CSV and JSON, for columns that are given or inferred; and columns
# that no field fills: _source, _member, _line, _job, _param.NAME.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need zip zip
start_service http
grep -q 'define HAVE_PCRE2' "${builddir:-.}/config.h" || bail 'clean= wants PCRE2 here'
new_site <<'INI'
[pipeline p]
columns = id:integer!, name:text, phone:text, status:text!, amount:decimal(2), mail:text, note:text?
table   = warehouse.p
max_rejects = 10
clean   = name: trim, squeeze, upper
          phone: replace(/[^0-9+]/, "")
          status: map(A = active, I = inactive, * = unknown)
          amount: null("n/a", -), default(0), range(0..1000)
          mail: lower, match(/^[^@ ]+@[^@ ]+$/)
          note: default("none; at all"), length(..20)
[pipeline guess]
table   = warehouse.guess
max_rejects = 10
clean   = name: upper
[pipeline wrong]
table   = warehouse.wrong
clean   = nome: upper
INI
cat >"$work/a.csv" <<'CSV'
id,name,phone,status,amount,mail
1,  anna   müller ,+49 (30) 12,A,-,Anna@X.de
2,bob,12,X,2000,b@c
3,eve,,I,n/a,nobody
CSV
qetlctl run p "$work/a.csv" >"$work/out"
is 'CSV: the row that passes is loaded as it was cleaned' "$(sql 'SELECT * FROM p')" '1|ANNA MÜLLER|+493012|active|0|anna@x.de|none; at all'
is '... the others are refused, with column, value and reason' "$(qetlctl --json rejects 1 | jq -c '.rejects[] | [.line, .reason, .column, .value]')" \
    '[3,"outside","amount","2000"]
[4,"pattern","mail","nobody"]'
like '... as they were read' "$(qetlctl rejects export 1 --format jsonl)" '"row":"3,eve,,I,n/a,nobody"'

cat >"$work/a.jsonl" <<'JSON'
{"id": 5, "name": " ola  nordmann", "phone": 4712, "status": "I", "amount": null, "mail": "O@N.no", "note": "x"}
{"id": 6, "name": {"first": "a"}, "phone": null, "status": "A", "amount": 1, "mail": "a@b"}
JSON
qetlctl run p "$work/a.jsonl" >"$work/out"
is 'JSON lines: the same' "$(sql 'SELECT * FROM p WHERE id = 5')" '5|OLA NORDMANN|4712|inactive|0|o@n.no|x'
is '... but an object is no text' "$(qetlctl --json rejects 2 | jq -c '.rejects[] | [.line, .reason, .column]')" '[2,"not-text","name"]'

printf 'n,name\n1,a\n2,b\n' >"$work/g.csv"
qetlctl run guess "$work/g.csv" >"$work/out"
is 'columns that were inferred are cleaned, too' "$(sql 'SELECT * FROM guess')" '1|A
2|B'
like 'a rule for a column that was not found is an error of the job' "$(qetlctl run wrong "$work/g.csv" 2>&1)" "clean: column 'nome': there is no such column"
sed -i 's/phone: replace.*/fone: trim/' "$site/qetl.ini"
like '... and one for a column that is not given a fault of the ini' "$(qetlctl check 2>&1)" "qetl.ini:[0-9]+: .*clean: column 'fone': there is no such column"
sed -i -e 's/fone: trim/phone: trim/' -e 's/default(0)/default(none)/' "$site/qetl.ini"
like '... and a default that its column cannot hold' "$(qetlctl check 2>&1)" "qetl.ini:[0-9]+: .*clean: .*column 'amount': default\(none\): not a decimal number"

# ---- columns that no field fills ----
new_site <<INI
[pipeline p]
source  = $work/in/{day}-*.csv
every   = 1h
settle  = 0s
columns = id:integer!, src:text from _source, _member, line:integer from _line, job:text from _job, day:date from _param.day, none from _param.none, v
table   = warehouse.p
[pipeline bare]
header  = no
columns = _line:integer, id:integer!, day from _param.day, n:integer from _param.n, v?
table   = warehouse.bare
[pipeline lines]
columns = id:integer!, _line:integer, _member from _member
table   = warehouse.lines
[pipeline secret]
columns = id:integer!, src from _source
table   = warehouse.secret
max_rejects = 10
INI
mkdir "$work/in"
printf 'id,v\n1,a\n2,"b\nc"\n3,d\n' >"$work/in/2026-11-20-x.csv"
qetl drain --scan 2>"$work/out"
uid=$(qetlctl --json show 1 | jq -r .job.uid)
is 'object, member, line, job and what {day} of the source was' "$(sql 'SELECT id, src, _member, line, job, day, none IS NULL FROM p')" \
    "1|$work/in/2026-11-20-x.csv|2026-11-20-x.csv|2|$uid|2026-11-20|1
2|$work/in/2026-11-20-x.csv|2026-11-20-x.csv|3|$uid|2026-11-20|1
3|$work/in/2026-11-20-x.csv|2026-11-20-x.csv|5|$uid|2026-11-20|1"
printf '7,q\n8\n' >"$work/bare.csv"
echo '{"pipeline":"bare","objects":["'"$work/bare.csv"'"],"params":{"day":"a \u00e4 \"b\"","n":42}}' | qetlctl submit - >/dev/null
qetl drain 2>"$work/out"
is 'without a header they take no place among the fields' "$(sql 'SELECT * FROM bare')" '1|7|a ä "b"|42|q
2|8|a ä "b"|42|'
(cd "$work" && printf '{"id": 1}\n{"id": 2}\n' >one.jsonl && printf '[{"id": 3},\n{"id": 4}]\n' >two.json && zip -q both.zip one.jsonl two.json)
qetlctl run lines "$work/both.zip" >/dev/null
is 'the members of an archive, and JSON' "$(sql 'SELECT * FROM lines')" '1|1|one.jsonl
2|2|one.jsonl
3|1|two.json
4|2|two.json'
printf 'id\n1\nx\n' >"$WWW/s.csv"
qetlctl run secret "$HTTP/files/s.csv?token=hunter2" >/dev/null
is 'a secret of the URI is not among them' "$(sql 'SELECT count(*), sum(src LIKE "%s.csv%"), sum(src LIKE "%hunter2%") FROM secret')" '1|1|0'
unlike '... nor in the rejects' "$(qetlctl --json rejects show "$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')")" hunter2
done_testing
