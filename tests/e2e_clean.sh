#!/bin/bash
# clean= from the ini to the table: in the reader's sandbox, for CSV and JSON, for columns that are given or inferred.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
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
like '... as they were read' "$(qetlctl rejects 1)" '"row":"3,eve,,I,n/a,nobody"'

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
done_testing
