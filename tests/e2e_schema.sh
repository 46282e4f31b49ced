#!/bin/bash
# submit --dry-run says what the load would make of the target's tables: it is what the load then makes, and the rehearsal makes nothing of it.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
export TMPDIR=$work/tmp
mkdir "$TMPDIR"
printf 'id,name,amount\n1,Ann,5\n2,Bob,7.25\n' >"$work/in.csv"
printf 'id,name,amount,Colour,size\n3,Cy,1,red,L\n' >"$work/more.csv"

recipes() { # TARGET
    cat <<INI
[pipeline fresh]
columns = id:integer!, name, amount:decimal(2)
table   = $1.fresh
mode    = upsert
key     = id
[pipeline past]
columns = id:integer!, name, amount:decimal(2)
table   = $1.past
mode    = history
key     = id
[pipeline grows]
columns = id:integer!, name, amount:decimal(2)
table   = $1.grows
on_new_column = add
[pipeline lacks]
columns = id:integer!, name, amount:decimal(2)
table   = $1.lacks
[pipeline lacks_more]
columns = id:integer!, name, amount:decimal(2)
table   = $1.lacks_more
[pipeline keyless]
columns = id:integer!, name, amount:decimal(2)
table   = $1.keyless
mode    = upsert
key     = id
[pipeline unpast]
columns = id:integer!, name, amount:decimal(2)
table   = $1.unpast
mode    = history
key     = id
[pipeline fewer]
columns = id:integer!, name, amount:decimal(2)
table   = $1.fewer
[pipeline more]
columns = id:integer!, name, amount:decimal(2)
table   = $1.more
[pipeline rounds]
columns = id:integer!, name, amount:decimal(2), share:decimal(2) from amount
table   = $1.rounds
[pipeline deferred]
columns = id:integer!, name, amount:decimal(2)
table   = $1.deferred
mode    = upsert
key     = id
[pipeline viewed]
columns = id:integer!, name, amount:decimal(2)
table   = $1.viewed
[pipeline kept]
columns = id:integer!, name, amount:decimal(2)
table   = $1.kept
undo    = 1d
[pipeline both]
columns = id:integer!, name, amount:decimal(2)
[pipeline both.main]
table   = $1.lacks
[pipeline both.other]
from      = main
table     = $1.other
output    = id:integer!, name
transform = SELECT id, name FROM input
INI
}
tables() { # RUN-SQL
    "$1" 'CREATE TABLE grows (id BIGINT, name VARCHAR(40), amount DECIMAL(18,2))'
    "$1" 'CREATE TABLE lacks (id BIGINT, name VARCHAR(40))'
    "$1" 'CREATE TABLE lacks_more (id BIGINT)'
    "$1" 'CREATE TABLE keyless (id BIGINT, name VARCHAR(40), amount DECIMAL(18,2))'
    "$1" 'CREATE TABLE unpast (id BIGINT, name VARCHAR(40), amount DECIMAL(18,2))'
    "$1" 'CREATE TABLE fewer (id BIGINT, name VARCHAR(40), amount DECIMAL(10,1) NOT NULL)'
    "$1" 'CREATE TABLE more (id BIGINT, name VARCHAR(40), amount DECIMAL(18,2), must VARCHAR(9) NOT NULL)'
    "$1" 'CREATE TABLE rounds (id BIGINT, name VARCHAR(40), amount INT, share DECIMAL(9,1))'
    "$1" 'CREATE TABLE viewed_rows (id BIGINT, name VARCHAR(40), amount DECIMAL(18,2))'
    "$1" 'CREATE VIEW viewed AS SELECT * FROM viewed_rows'
}
rehearse() { qetlctl --json submit "$@" --dry-run >"$work/out" 2>"$work/err"; }
said() { jq -r '.tables[].schema | "\(.state): \([.columns[] | "\(.column) \(.type)\(if .not_null then " !" else "" end)\(if .key then " key" else "" end)"] | join(", "))"' "$work/out"; }
own() { jq -r '[.own_tables[].table] | join(" ")' "$work/out"; }
untouched() { # NAME: by the catalog as it was in $was
    is "$1: the target is as it was" "$(catalog)" "$was"
}

# what all three do; catalog: prints the schema. $1: of messages, $2: the types that it declares: integer, text, decimal, key
all_of() {
    local name=$1 integer=$2 text=$3 decimal=$4 key=$5
    was=$(catalog)
    rehearse fresh "$work/in.csv"
    is "$name: a table that is not there" "$(said)" "new: id $key ! key, name $text, amount $decimal"
    like "$name: ... as it would be declared" "$(jq -r '.tables[0].schema.sql[0]' "$work/out")" "^CREATE TABLE .*fresh.*PRIMARY KEY"
    rehearse past "$work/in.csv"
    is "$name: history" "$(said)" "new: id $key ! key, name $text, amount $decimal"
    like "$name: ... has columns of its own" "$(jq -r '.tables[0].schema.sql[0]' "$work/out")" "valid_from .*is_current"
    rehearse grows "$work/in.csv"
    is "$name: one that fits" "$(said)" 'fits: '
    rehearse grows "$work/more.csv"
    is "$name: one that gets columns" "$(said)" "altered: Colour $text, size $text"
    is "$name: ... each by its statement" "$(jq -r '.tables[0].schema.sql[]' "$work/out" | grep -c '^ALTER TABLE .*grows.* ADD COLUMN')" 2
    is "$name: ... they are drift" "$(jq -r '[.drift[] | .kind + " " + .column] | join(", ")' "$work/out")" 'new Colour, new size'
    rehearse lacks "$work/in.csv"
    is "$name: one that lacks a column" "$(said)" 'refused: '
    like "$name: ... the job would die of it" "$(jq -r '.tables[0].schema.error_code, .error_code, .tables[0].schema.error' "$work/out" | paste -sd' ')" \
        "^target-refused target-refused .*lacks.* has no column 'amount'; run: ALTER TABLE"
    rehearse lacks_more "$work/in.csv"
    is "$name: one that lacks several: all of them are named" "$(jq -r '.tables[0].schema.error' "$work/out" | grep -o "has no columns.*; run: ALTER")" \
        "has no columns 'name', 'amount'; run: ALTER"
    rehearse keyless "$work/in.csv"
    like "$name: one without a unique key" "$(said) $(jq -r '.tables[0].schema.error' "$work/out")" "refused: .*keyless.* (unique index|unique or exclusion)"
    rehearse viewed "$work/in.csv"
    like "$name: a view" "$(said) $(jq -r '.tables[0].schema.error' "$work/out")" 'refused: .*viewed.* a (view|VIEW)'
    rehearse both "$work/in.csv"
    is "$name: of two tables, one of which does not fit" "$(said)" "refused: 
new: id $integer !, name $text"
    qetlctl submit grows "$work/more.csv" --dry-run >"$work/out"
    like "$name: in words" "$(tr '\n' ' ' <"$work/out")" 'the table would be altered: +ALTER TABLE .*Colour.*ALTER TABLE .*size.* the first rows:.* DRIFT'
    qetlctl submit both "$work/in.csv" --dry-run >"$work/out"
    like "$name: ..." "$(tr '\n' ' ' <"$work/out")" "the table does not fit: .*has no column 'amount'.* the table is not there; it would be made: +CREATE TABLE"
    untouched "$name"
}
# what is said is what a load makes: behind it, the same file finds nothing to make
then_loaded() { # NAME
    local p
    for p in fresh past grows kept; do
        qetlctl --json run "$p" "$work/more.csv" >/dev/null 2>&1
        rehearse "$p" "$work/more.csv"
        is "$1: $p is loaded, and fits then" "$(said)$(own)" 'fits: '
    done
}

# what is said to mend a table does
mended() { # NAME RUN-SQL PIPELINE...
    local name=$1 run=$2 p
    shift 2
    for p; do
        rehearse "$p" "$work/in.csv"
        like "$name: $p: the statement that mends it" "$(jq -r '.tables[0].schema.error' "$work/out")" "$p.*run: (ALTER|CREATE)"
        "$run" "$(jq -r '.tables[0].schema.error | sub(".*run: "; "")' "$work/out")" >/dev/null
        is "$name: ... and it is loaded" "$(qetlctl --json run "$p" "$work/in.csv" 2>/dev/null | jq -r '.job | "\(.state) \(.rows_inserted)"')" 'loaded 2'
    done
}

several() { # NAME
    rehearse rounds "$work/in.csv"
    like "$1: several columns that would round are told at once" "$(jq -r '.tables[0].schema.error' "$work/out")" \
        "'rounds' does not keep each value as it is: decimal.2. in 'amount' \(int.*, decimal.2. in 'share' .*declare 'amount' as integer, 'share' as decimal.1. in columns=, or run: ALTER"
}

# A column that would round, cut or misorder is refused before a row is loaded, and what is said mends it: lines of
# pipeline's type|table's type|said instead of "run:", if anything|value. $4: of the version of an upsert, the table's type.
coarse() { # NAME RUN-SQL TARGET [TYPE]
    local name=$1 run=$2 version=${4-} n=0 type sql says value fix match
    while IFS='|' read -r type sql says value; do
        n=$((n + 1)) match=$(sed 's/[()]/\\&/g' <<<"$type")
        printf '[pipeline c%s]\ncolumns = id:integer!, x:%s\ntable = %s.c%s\n' $n "$type" "$3" $n >>"$site/qetl.ini"
        "$run" "CREATE TABLE c$n (id BIGINT, x $sql)" >/dev/null
        printf 'id,x\n1,%s\n' "$value" >"$work/c.csv"
        rehearse c$n "$work/c.csv"
        like "$name: $type into $sql" "$(said) $(jq -r '.tables[0].schema.error' "$work/out")" "^refused: .*table 'c$n' does not keep each value as it is: $match in 'x' .*$says"
        fix=$(jq -r '.tables[0].schema.error' "$work/out" | sed -n 's/.*run: //p')
        is "$name: ... nothing of it is loaded" "$(qetlctl --json run c$n "$work/c.csv" 2>/dev/null | jq -r '.job | "\(.state) \(.error_code)"') $("$run" "SELECT count(*) FROM c$n")" \
            'dead target-refused 0'
        [ -n "$fix" ] || continue
        "$run" "$fix" >/dev/null
        [[ $says != *'and run'* ]] || sed -i "s/x:$type\$/x:real/" "$site/qetl.ini"
        is "$name: ... it is, when mended by: ${fix#* TABLE }" "$(qetlctl --json run c$n "$work/c.csv" 2>/dev/null | jq -r '.job | "\(.state) \(.rows_inserted)"')" 'loaded 1'
    done
    [ -n "$version" ] || return 0
    printf '[pipeline whole]\ncolumns = id:integer!, x:timestamp(0)\ntable = %s.whole\nmax_rejects = 1\n' "$3" >>"$site/qetl.ini"
    "$run" "CREATE TABLE whole (id BIGINT, x $version)" >/dev/null
    printf 'id,x\n1,2026-01-01T23:59:59Z\n2,2026-01-01T23:59:59.9Z\n' >"$work/c.csv"
    is "$name: whole seconds go into $version, and others are rejects" \
        "$(qetlctl --json run whole "$work/c.csv" 2>/dev/null | jq -r '.job | "\(.state) \(.rows_inserted) \(.id)"' | { read -r a b id && echo "$a $b $(qetlctl --json rejects show "$id" | jq -r '.rejects[0].reason')"; })" 'loaded 1 scale'
    printf '[pipeline versions]\ncolumns = id:integer!, name, x:timestamp\ntable = %s.versions\nmode = upsert\nkey = id\nversion = x\n' "$3" >>"$site/qetl.ini"
    "$run" "CREATE TABLE versions (id BIGINT PRIMARY KEY, name VARCHAR(9), x $version)" >/dev/null
    printf 'id,name,x\n1,newer,2026-01-01T10:00:00.9Z\n' >"$work/new.csv"
    printf 'id,name,x\n1,older,2026-01-01T10:00:00.6Z\n' >"$work/old.csv"
    qetlctl run versions "$work/new.csv" >/dev/null 2>"$work/err"
    like "$name: a version of $version" "$(<"$work/err")" "timestamp in 'x' .* with its order, for version=.*run: ALTER"
    "$run" "$(sed -n '/run: /{s/.*run: //;s/ \[target-refused\]$//p;q}' "$work/err")" >/dev/null
    qetlctl run versions "$work/new.csv" >/dev/null
    qetlctl run versions "$work/old.csv" >/dev/null
    is "$name: ... keeps the newer row, when mended" "$("$run" 'SELECT name FROM versions')" newer
}

unversioned() { # NAME RUN-SQL TARGET
    local n=0 type sql says value
    while IFS='|' read -r type sql says value; do
        n=$((n + 1))
        printf '[pipeline o%s]\ncolumns = id:integer!, x:%s\ntable = %s.o%s\nmode = upsert\nkey = id\nversion = x\n' $n "$type" "$3" $n >>"$site/qetl.ini"
        "$2" "CREATE TABLE o$n (id BIGINT PRIMARY KEY, x $sql)" >/dev/null
        printf 'id,x\n1,%s\n' "$value" >"$work/c.csv"
        rehearse o$n "$work/c.csv"
        like "$1: a version that is $type has another order in $sql" "$(jq -r '.tables[0].schema.error' "$work/out")" "with its order, for version=$says"
    done
}

# Keys that are two as texts and one in the table are refused, before one of the rows is lost.
keyed() { # NAME RUN-SQL TARGET
    local mode
    "$2" 'CREATE TABLE keyed (id INT PRIMARY KEY, x VARCHAR(9))' >/dev/null
    printf 'id,x\n7,a\n007,b\n' >"$work/c.csv"
    for mode in upsert insert_ignore; do
        printf '[pipeline by_%s]\ncolumns = id:text!, x\ntable = %s.keyed\nmode = %s\nkey = id\n' $mode "$3" $mode >>"$site/qetl.ini"
        rehearse by_$mode "$work/c.csv"
        like "$1: $mode: text keys into numbers" "$(said) $(jq -r '.tables[0].schema.error' "$work/out")" \
            "^refused: .*text in 'id' \(.*, in key=, where two keys could become one; declare 'id' as integer in columns=$"
        is "$1: ... nothing of it is loaded" "$(qetlctl --json run by_$mode "$work/c.csv" 2>/dev/null | jq -r '.job | "\(.state) \(.error_code)"') $("$2" 'SELECT count(*) FROM keyed')" \
            'dead target-refused 0'
    done
    printf '[pipeline appends]\ncolumns = id:text!, x\ntable = %s.keyed\nkey = id\n[pipeline integers]\ncolumns = id:integer!, x\ntable = %s.keyed\nmode = upsert\nkey = id\n' \
        "$3" "$3" >>"$site/qetl.ini"
    printf 'id,x\n7,a\n' >"$work/c.csv"
    is "$1: ... texts that are only appended, and integers, are" "$(for p in appends integers; do qetlctl --json run $p "$work/c.csv" 2>/dev/null | jq -r .job.state; done | paste -sd' ')" \
        'loaded loaded'
}

# ---- SQLite ----
new_site <<<"$(recipes warehouse)"
catalog() { sqlite3 -readonly "$site/warehouse.db" .dump; }
rehearse kept "$work/in.csv"
is 'SQLite: no warehouse yet' "$(said) | $(own)" 'new: id INTEGER !, name TEXT, amount DECIMAL(18,2), _job TEXT | qetl_load qetl_undo'
ok 'SQLite: ... nor behind it' test ! -e "$site/warehouse.db"
run_sql() { sqlite3 "$site/warehouse.db" "$1"; }
tables run_sql
all_of SQLite INTEGER TEXT 'DECIMAL(18,2)' INTEGER
then_loaded SQLite
mended SQLite run_sql lacks lacks_more keyless unpast
keyed SQLite run_sql warehouse
coarse SQLite run_sql warehouse <<'END'
integer|REAL|declare 'x' as real in columns=$|9007199254740993
text|STRING||007
json|INT|declare 'x' as integer in columns=$|12345678901234567890123
json|DOUBLE|declare 'x' as real in columns=$|1.5
decimal(2)|double precision|declare 'x' as real in columns=$|9007199254740993
real|TEXT||0.12345678901234567
END
unversioned SQLite run_sql warehouse <<'END'
text|INTEGER|; declare 'x' as integer in columns=$|9
text|REAL|; declare 'x' as real in columns=$|9
text|NUMERIC|$|9
text|STRING|$|9
text|DATE|; declare 'x' as date in columns=$|9
text|DATETIME|; declare 'x' as timestamp in columns=$|9
integer|TEXT|$|9
END
for type in '' BLOB TEXT 'VARCHAR(9)'; do
    run_sql "DROP TABLE IF EXISTS o1; CREATE TABLE o1 (id INTEGER PRIMARY KEY, x $type)"
    printf 'id,x\n1,9\n' >"$work/c.csv"
    rehearse o1 "$work/c.csv"
    is "SQLite: ... and its own in ${type:-a column without a type}" "$(said)" 'fits: '
done

# ---- PostgreSQL ----
if grep -q '^#define HAVE_LIBPQ 1' "$builddir/config.h" && try_service postgres; then
    export PGPASSWORD
    new_site <<INI
$(pg_remote)
$(recipes pg)
INI
    catalog() {
        pg "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1, 2"
    }
    tables pg
    was=$(catalog)
    rehearse kept "$work/in.csv"
    is 'PostgreSQL: a job with undo' "$(said) | $(own)" \
        'new: id bigint !, name text, amount numeric(18,2), _job text | qetl_load qetl_undo qetl_undo_row'
    untouched PostgreSQL
    all_of PostgreSQL bigint text 'numeric(18,2)' bigint
    then_loaded PostgreSQL
    several PostgreSQL
    pg 'CREATE TABLE deferred (id BIGINT PRIMARY KEY DEFERRABLE, name VARCHAR(40), amount DECIMAL(18,2))'
    mended PostgreSQL pg lacks lacks_more keyless unpast fewer more rounds deferred
    pg 'CREATE DOMAIN of_seconds AS timestamptz(0); CREATE DOMAIN moment AS of_seconds' >/dev/null
    keyed PostgreSQL pg pg
    coarse PostgreSQL pg pg 'timestamptz(0)' <<'END'
decimal(2)|int|declare 'x' as integer in columns=, or run|1.55
json|int|declare 'x' as integer in columns=$|1.5
json|double precision|declare 'x' as real in columns=$|12345678901234567890123
decimal(2)|numeric(9,1)|declare 'x' as decimal\(1\) in columns=, or run|1.55
integer|numeric(9,-2)||155
real|int|declare 'x' as integer in columns=, or run|1.5
real|numeric(9,2)|declare 'x' as decimal\(2\) in columns=$|1.555
real|numeric|declare 'x' as text in columns=$|1.1111111111111112
real|real||0.1234567890123
integer|real|declare 'x' as real in columns=, and run|16777217
integer|double precision|declare 'x' as real in columns=$|9007199254740993
timestamp|date|declare 'x' as date in columns=, or run|2026-01-01T13:14:15Z
timestamp|time||2026-01-01T13:14:15Z
timestamp|timestamp(3)|declare 'x' as timestamp\(3\) in columns=, or run|2026-01-01T13:14:15.123456Z
timestamp|moment|declare 'x' as timestamp\(0\) in columns=, or run|2026-01-01T23:59:59.9Z
text|name||a
integer|bit(1)|; run: ALTER|2
timestamp|timestamptz(0)|declare 'x' as timestamp\(0\) in columns=, or run|2026-01-01T23:59:59.9Z
END
else
    skip "PostgreSQL: ${why:-built without it}" 86
fi

# ---- MariaDB: what it could not take back is said, too ----
if grep -q '^#define HAVE_LIBMARIADB 1' "$builddir/config.h" && try_service mariadb; then
    new_site <<INI
$(my_remote)
$(recipes my)
INI
    catalog() {
        my "SELECT table_name, column_name, column_type FROM information_schema.columns WHERE table_schema = database() ORDER BY 1, 2"
        my "SELECT table_name, index_name, column_name FROM information_schema.statistics WHERE table_schema = database() ORDER BY 1, 2, 3"
    }
    tables my
    was=$(catalog)
    rehearse kept "$work/in.csv"
    rehearse lacks "$work/in.csv"
    is 'MariaDB: no ledger yet: a table that does not fit is what the job would die of' "$(jq -c '[.ok, .error_code]' "$work/out") $(own)" \
        '[false,"target-refused"] qetl_load'
    rehearse kept "$work/in.csv"
    is 'MariaDB: no ledger yet' "$(said) | $(own)" 'new: id BIGINT !, name LONGTEXT, amount DECIMAL(19,2), _job LONGTEXT | qetl_load'
    untouched MariaDB
    qetlctl init >/dev/null
    all_of MariaDB BIGINT LONGTEXT 'DECIMAL(19,2)' BIGINT
    rehearse kept "$work/in.csv"
    is 'MariaDB: a job with undo' "$(own)" 'qetl_undo qetl_undo_row'
    then_loaded MariaDB
    several MariaDB
    mended MariaDB my lacks lacks_more keyless unpast fewer more rounds
    keyed MariaDB my my
    coarse MariaDB my my DATETIME <<'END'
json|DOUBLE|declare 'x' as real in columns=$|12345678901234567890123
decimal(2)|int|declare 'x' as integer in columns=, or run|1.55
decimal(2)|DECIMAL(9,1)|declare 'x' as decimal\(1\) in columns=, or run|1.55
real|BIGINT UNSIGNED|declare 'x' as integer in columns=, or run|1.5
real|FLOAT||0.1234567890123
real|DOUBLE(9,2)||1.555
integer|FLOAT|declare 'x' as real in columns=, and run|16777217
integer|DOUBLE|declare 'x' as real in columns=$|9007199254740993
integer|BIT(8)||5
timestamp|date|declare 'x' as date in columns=, or run|2026-01-01T13:14:15Z
timestamp|time||2026-01-01T13:14:15Z
timestamp|timestamp(3)|declare 'x' as timestamp\(3\) in columns=, or run|2026-01-01T13:14:15.123456Z
timestamp|datetime|declare 'x' as timestamp\(0\) in columns=, or run|2026-01-01T23:59:59.9Z
integer|ENUM('1','2','a','9')|declare 'x' as text in columns=$|3
real|SET('1','2','a')|declare 'x' as text in columns=$|3
boolean|YEAR|declare 'x' as integer in columns=, or run|true
decimal(2)|TIME||1.55
END
    unversioned MariaDB my my <<'END'
integer|VARBINARY(20)|; run: ALTER TABLE|9
integer|BINARY(20)|; run: ALTER TABLE|9
decimal(2)|BLOB|; run: ALTER TABLE|9.99
real|TINYBLOB|; run: ALTER TABLE|9.99
timestamp|LONGBLOB|; run: ALTER TABLE|2026-01-01T00:00:00Z
integer|YEAR|; run: ALTER TABLE|70
integer|DATE|; declare 'x' as date in columns=$|991231
integer|DATETIME|; declare 'x' as timestamp\(0\) in columns=$|991231
integer|TIMESTAMP(6)|; declare 'x' as timestamp in columns=$|991231
integer|TIME|$|9
text|ENUM('b','a')|$|a
END
else
    skip "MariaDB: ${why:-built without it}" 80
fi

# ---- objects ----
new_site <<INI
[target lake]
url  = file://$work/lake
path = {table}/{name}/{uid}.{ext}
format = jsonl
compress = none
[pipeline lake]
columns = id:integer!, name, amount:decimal(2)
table   = lake.t
INI
rehearse lake "$work/in.csv"
is 'objects: each that would be written' "$(jq -c '.tables[0].schema | [.state, .objects]' "$work/out")" \
    '["objects",[{"object":"t/Ann/{uid}.jsonl","rows":1,"bytes":36},{"object":"t/Bob/{uid}.jsonl","rows":1,"bytes":36}]]'
ok '... and is not' test ! -e "$work/lake"
qetlctl submit lake "$work/in.csv" --dry-run >"$work/out"
like '... in words' "$(cat "$work/out")" 't/Bob/\{uid\}.jsonl: 1 row, 36 bytes'
qetlctl run lake "$work/in.csv" >/dev/null
is '... as the load does' "$(cd "$work/lake/t" && find . -name '*.jsonl' ! -path '*_manifest*' | sed 's/[^/]*\.jsonl/{uid}.jsonl/' | sort | paste -sd' ')" './Ann/{uid}.jsonl ./Bob/{uid}.jsonl'
done_testing
