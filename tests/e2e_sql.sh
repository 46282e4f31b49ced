#!/bin/bash
# where=, compute=, transform= and look-ups from the ini to the table, in the reader's sandbox: what a person would write, what
# goes wrong with it, and that the books close.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need bsdtar libarchive-tools
counts() { qetlctl --json show "$1" | jq -c '.job | [.rows_read, .rows_added, .rows_staged, .rows_rejected, .rows_filtered]'; }
last() { qetlctl --json jobs --limit 1 | jq '.jobs[0].id'; }

# ---- rows ----
new_site <<'INI'
[lookup products]
file    = products.csv.gz
columns = sku:text!, category:text
key     = sku
[pipeline orders]
columns = id:integer!, placed:timestamp, sku:text, price:decimal(2), quantity:integer
max_rejects = 10
table   = warehouse.orders
where   = quantity > 0 AND placed >= '2026-01-01'
compute = total:decimal(2) = price * quantity
          day:date = date(placed)
mode    = upsert
key     = id
[pipeline same]
columns   = id:integer!, placed:timestamp, sku:text, price:decimal(2), quantity:integer
transform = SELECT * FROM input
table     = warehouse.same
[pipeline plain]
columns   = id:integer!, placed:timestamp, sku:text, price:decimal(2), quantity:integer
table     = warehouse.plain
[pipeline days]
columns   = id:integer!, placed:timestamp, sku:text, price:decimal(2), quantity:integer
output    = day:date!, category:text, orders:integer, amount:decimal(2), best:integer
transform = @file:days.sql
table     = warehouse.days
[pipeline guess]
transform = SELECT id, quantity FROM input WHERE json_valid(sku) = 0
table     = warehouse.guess
[pipeline odd]
columns   = id:integer!, v
max_rejects = 10
output    = id:integer!, v:integer
transform = SELECT id, CASE WHEN v REGEXP '^[0-9]+$' THEN v ELSE 'no ' || v END AS v FROM input
table     = warehouse.odd
[pipeline sort]
columns   = n:integer, t
transform = SELECT t, n FROM input ORDER BY t
table     = warehouse.sort
INI
cat >"$work/a.csv" <<'CSV'
id,placed,sku,price,quantity
1,2026-11-20 10:00:00,A1,12.50,4
2,2025-12-31 23:59:59,A1,12.50,1
3,2026-11-20 11:00:00,B7,0.10,3
4,2026-11-21 09:00:00,ZZ,1,
5,2026-11-21 10:00:00,A1,99.99,1
CSV
printf 'id,placed,sku,price,quantity\n6,2026-11-20 12:00:00,B7,1.00,2\n7,x,B7,1,1\n' >"$work/b.csv"
printf 'sku,category\nA1,lamps\nB7,bulbs\n' | gzip >"$site/products.csv.gz"
cat >"$site/days.sql" <<'SQL'
-- orders and amount of a day and category, and the order with the greatest amount
WITH sold AS (SELECT date(placed) AS day, sku, id, price * quantity AS amount FROM input WHERE quantity > 0)
SELECT DISTINCT day, category, count(*) OVER w AS orders, round(sum(amount) OVER w, 2) AS amount,
       first_value(id) OVER (w ORDER BY amount DESC ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS best
FROM sold LEFT JOIN products USING (sku)
WINDOW w AS (PARTITION BY day, category)
ORDER BY day, category
SQL
ok 'the ini is good' qetlctl check
qetlctl run orders "$work/a.csv" >"$work/out"
is 'where leaves rows out, compute adds columns' "$(sql 'SELECT * FROM orders')" '1|2026-11-20 10:00:00|A1|12.5|4|50|2026-11-20
3|2026-11-20 11:00:00|B7|0.1|3|0.3|2026-11-20
5|2026-11-21 10:00:00|A1|99.99|1|99.99|2026-11-21'
is '... and are counted' "$(counts 1)" '[5,0,3,0,2]'
like '... and told' "$(cat "$work/out")" '^job 1 loaded: 5 rows read, 3 loaded, 0 rejected, 2 filtered$'
qetlctl run orders "$work/b.csv" >"$work/out"
is '... beside rejects' "$(counts 2)" '[2,0,1,1,0]'

qetlctl run plain "$work/a.csv" >"$work/out"
qetlctl run same "$work/a.csv" >"$work/out"
is 'an identity SELECT gives the same rows' "$(sql 'SELECT * FROM same')" "$(sql 'SELECT * FROM plain')"
is '... in a table of the same columns' "$(sql "SELECT replace(sql, 'same', 'plain') FROM sqlite_schema WHERE name = 'same'")" \
    "$(sql "SELECT sql FROM sqlite_schema WHERE name = 'plain'")"

sed -i '$d' "$work/b.csv"
bsdtar -czf "$work/both.tar.gz" -C "$work" a.csv b.csv
qetlctl run days "$work/both.tar.gz" >"$work/out"
is 'all members are one table, joined with a look-up, grouped and ranked' "$(sql 'SELECT * FROM days')" '2025-12-31|lamps|1|12.5|2
2026-11-20|bulbs|2|2.3|6
2026-11-20|lamps|1|50|1
2026-11-21|lamps|1|99.99|5'
is '... fewer rows than came are counted as filtered' "$(counts "$(last)")" '[6,0,4,0,2]'
printf '{"pipeline":"days","objects":["%s","%s"]}\n' "$work/a.csv" "$work/b.csv" | qetlctl submit - >"$work/out"
qetl drain 2>"$work/out"
is '... and so are all objects of a job' "$(sql 'SELECT count(*), sum(orders) FROM days')" '8|10'

qetlctl run guess "$work/a.csv" >"$work/out"
is 'columns that were found out can be asked by SQL' "$(sql 'SELECT count(*), typeof(quantity) FROM guess')" '5|integer'

printf 'id,v\n1,7\n2,x\n3,8\n' >"$work/odd.csv"
qetlctl run odd "$work/odd.csv" >"$work/out"
is 'what does not fit is refused behind the SQL' "$(sql 'SELECT * FROM odd')" '1|7
3|8'
is '... with the number of the row, and its values' "$(qetlctl --json rejects "$(last)" | jq -c '.rejects[] | [.object, .member, .line, .reason, .column, .value, .row]')" \
    '["transform:odd",null,2,"not-integer","v","no x","{\"id\":2,\"v\":\"no x\"}"]'
is '... and counted' "$(counts "$(last)")" '[3,0,2,1,0]'

# ---- one object, two tables: the ini of doc/json.md ----
main=$site
sed -n '/^## One file, two tables/,/^## /p' "$srcdir/doc/json.md" | awk '/^```/ { inside = $0 == "```ini"; next } inside' >"$work/page.ini"
ok 'doc/json.md has an ini for it' test -s "$work/page.ini"
new_site <"$work/page.ini"
printf '{"id":1,"customer":"Ann","items":[{"sku":"A1","quantity":2},{"sku":"B7","quantity":1}]}\n{"id":2,"customer":null,"items":[]}\n' >"$work/o.jsonl"
qetlctl run shop "$work/o.jsonl" >"$work/out"
is 'orders and items are loaded by one job' "$(sql 'SELECT * FROM orders'; sql 'SELECT * FROM items')" '1|Ann
2|
1|A1|2
1|B7|1'
is '... and the books close' "$(counts 1)" '[2,2,4,0,0]'

# ---- orders and customers in one zip: the ini of doc/sql.md, orders first, customers in two members ----
sed -n '/^### Join with another table of the same job/,/^## /p' "$srcdir/doc/sql.md" | awk '/^```/ { inside = $0 == "```ini"; next } inside' >"$work/page.ini"
ok 'doc/sql.md has an ini for it' test -s "$work/page.ini"
sed -i 's/^member *= customers.csv/member = customers*.csv/; s/^\[pipeline shop\]/&\nmax_rejects = 9/' "$work/page.ini"
new_site <"$work/page.ini"
ok '... that is good' qetlctl check
mkdir "$work/shop"
printf 'id,customer_id,amount\n1,7,9.50\n2,8,1\n3,7,2.25\nx,7,1\n4,5,3\n' >"$work/shop/orders.csv"
printf 'id,name,country\n7,Ann,SE\n5,Eve,NO\n' >"$work/shop/customers.csv"
printf 'id,name,country\n9,Bo,DK\n5,Eva,FI\n' >"$work/shop/customers2.csv"
(cd "$work/shop" && bsdtar -c --format=zip -f ../shop.zip orders.csv customers.csv customers2.csv)
joined='1|9.5|SE
2|1|
3|2.25|SE
4|3|FI'
qetlctl --json submit shop "$work/shop.zip" --dry-run >"$work/out"
is 'a rehearsal joins, too' "$(jq -c '[.ok, .rows_read, .rows_staged, .rows_rejected, .would.inserted], (.tables[] | select(.table == "warehouse.orders").sample | map([.id, .country]))' "$work/out")" \
    '[true,9,8,1,7]
[[1,"SE"],[2,null],[3,"SE"],[4,"FI"]]'
qetlctl run shop "$work/shop.zip" >"$work/out"
is 'orders find the customers that come behind them in the zip' "$(sql 'SELECT * FROM orders ORDER BY id')" "$joined"
is '... which are loaded by the same job' "$(sql 'SELECT * FROM customers')" '5|Eva|FI
7|Ann|SE
9|Bo|DK'
is '... and the books close' "$(counts 1)" '[9,0,8,1,0]'
is '... and nothing is left in the spool' "$(find "$site/spool" -type f | wc -l)" 0
is 'a reject of the part that waited has its place' "$(qetlctl --json rejects 1 | jq -c '.rejects[] | [.table, .member, .line, .row]')" '["warehouse.orders","orders.csv",5,"x,7,1"]'
qetlctl rejects replay 1 >"$work/out" 2>&1 && rc=0 || rc=$?
like '... and is not read again without the others' "$rc $(cat "$work/out")" '^1 .*none of the 1 rejects of job 1 .* could be read again'
bsdtar -c --format=zip -C "$work/shop" -f "$work/alone.zip" orders.csv
qetlctl run shop "$work/alone.zip" >"$work/out"
is 'without a member of the others their table is empty' "$(sql 'SELECT count(*), count(country) FROM orders')" '8|3'
awk 'BEGIN { print "id,customer_id,amount"; for (i = 0; i < 60000; i++) printf "%d,%d,1\n", i + 10, (i * 7919) % 50000 + 100 }' >"$work/shop/orders.csv"
awk 'BEGIN { print "id,name,country"; for (i = 0; i < 50000; i++) printf "%d,%0200d,C%d\n", i + 100, i, i % 7 }' >"$work/shop/customers.csv"
bsdtar -c --format=zip -C "$work/shop" -f "$work/many.zip" orders.csv customers.csv
qetlctl run shop "$work/many.zip" >"$work/out"
is 'more rows than stay in memory wait, and find theirs, in files of the spool' "$(sql "SELECT count(*), count(DISTINCT id), sum(country = 'C' || ((id - 10) * 7919 % 50000 % 7)) FROM orders WHERE id >= 10")" '60000|60000|60000'
is '... of which none is left' "$(find "$site/spool" -type f | wc -l)" 0
site=$main
export QETL_CONFIG=$main/qetl.ini

# ---- a sort that no memory holds ----
awk 'BEGIN { print "n,t"; for (i = 0; i < 300000; i++) printf "%d,%0200d\n", i, (i * 7919) % 300000 }' >"$work/sort.csv"
qetlctl run sort "$work/sort.csv" >"$work/out"
is 'a sort goes beyond memory' "$(sql 'SELECT count(*), sum(n) FROM sort')" '300000|44999850000'
is '... and is one' "$(sql 'SELECT count(*) FROM sort a JOIN sort b ON b.rowid = a.rowid + 1 WHERE b.t < a.t')" 0
is '... and leaves nothing in the spool' "$(find "$site/spool" -type f | wc -l)" 0

# ---- what goes wrong ----
fault() { # NAME WHAT CHECK-SAYS: the pipeline with that key, and what check says
    new_site <<<"[lookup codes]
file = codes.csv
columns = code:text!, n:integer
[pipeline p]
columns = id:integer!, name:text
table = warehouse.p
$2"
    qetlctl check >"$work/out" 2>&1 && rc=0 || rc=$?
    is "$1 is a fault of the ini" "$rc" 3
    like '... with file, line and place' "$(cat "$work/out")" "$3"
}
fault 'a name that is no column' 'where = nmae IS NOT NULL' 'qetl.ini:[0-9]+: \[pipeline p\] where: line 1, column 1: no such column: nmae'
fault 'a syntax error' 'transform = SELECT id,
    name
    FORM input' 'qetl.ini:[0-9]+: \[pipeline p\] transform: line 3, column 6: near "input": syntax error'
fault 'a column without a type' 'transform = SELECT id, upper(name) AS loud FROM input' "\[pipeline p\] transform: column 'loud' of the result has no type"
fault 'a statement that writes' 'transform = DELETE FROM codes' 'transform: line 1, column 1: a SELECT was expected'
fault 'input in two places' 'transform = SELECT id FROM input UNION ALL SELECT id FROM input' \
    'transform: line 1, column [0-9]*: input would be read more than once'
fault 'a key that the result lacks' 'transform = SELECT id FROM input
mode = upsert
key = name' "'name'"
fault 'compute without a name' 'compute = 1 + 1' 'compute: .*expected NAME:TYPE = EXPRESSION'
fault 'compute of a column that is there' 'compute = name:text = upper(name)' "compute: 'name' is among the columns already"
fault 'a file that is not there' 'transform = @file:gone.sql' 'gone.sql: No such file'

new_site <<'INI'
[limits]
ratio = 10
[lookup codes]
file = codes.csv
columns = code:text!, n:integer
key = code
[pipeline overflow]
columns = n:integer
transform = SELECT abs(n) AS n FROM input
table = warehouse.t
[pipeline bomb]
columns = n:integer
transform = WITH RECURSIVE k(n) AS (SELECT n FROM input UNION ALL SELECT n + 1 FROM k) SELECT n FROM k
table = warehouse.t
[pipeline forever]
columns = n:integer
transform = WITH RECURSIVE k(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM k) SELECT n FROM input, k WHERE k < 0
table = warehouse.t
attempts = 1
[pipeline late]
columns = n:integer
transform = WITH RECURSIVE k(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM k) SELECT n FROM input, k WHERE k < 0
transform_timeout = 200ms
table = warehouse.t
[pipeline twice]
columns = n:integer
transform = SELECT n FROM (VALUES (1), (2)) LEFT JOIN input
table = warehouse.t
[pipeline look]
columns = n:integer
transform = SELECT n FROM input WHERE n IN (SELECT n FROM codes)
table = warehouse.t
[pipeline good]
columns = n:integer
where = n > 1
table = warehouse.t
INI
printf 'n\n1\n-9223372036854775808\n2\n' >"$work/n.csv"
dies() { # PIPELINE CODE MESSAGE
    qetlctl run "$1" "$work/n.csv" >"$work/out" 2>&1
    is "$1: the job is dead" "$(state "$(last)")" dead
    is "... with its code" "$(qetlctl --json errors --limit 1 | jq -r '.errors[0].code')" "$2"
    like "... and what is wrong" "$(qetlctl --json errors --limit 1 | jq -r '.errors[0].message')" "$3"
}
dies overflow sql "member 'n.csv': transform: at line 3: integer overflow"
dies bomb limit 'more than 10 for each \(\[limits\] ratio\)'
dies late limit 'no row went in or out for 200ms'
dies twice sql 'WITH kept AS MATERIALIZED'
dies look fetch-missing 'lookup codes.*codes.csv.: No such file'
printf 'code,n\na,1\nb,x\n' >"$site/codes.csv"
dies look lookup "lookup codes.*line 3.*column 'n'"
ok 'no row of all these was loaded' test ! -e "$site/warehouse.db"
qetlctl run good "$work/n.csv" >"$work/out"
is 'the reader goes on after them' "$(sql 'SELECT * FROM t')" 2

start_role worker
qetlctl submit forever "$work/n.csv" >"$work/out"
id=$(last)
running() { [ "$(state "$id")" = running ]; }
gone() { [ "$(state "$id")" = cancelled ]; }
ok 'a statement without end runs' wait_for 60 running
qetlctl cancel "$id" >"$work/out"
ok '... until it is cancelled' wait_for 60 gone
qetlctl submit good "$work/n.csv" >"$work/out"
id=$(last)
staged() { case $(state "$id") in staged | loaded) true ;; *) false ;; esac; }
ok '... and the worker goes on with the next job' wait_for 60 staged
stop_roles
done_testing
