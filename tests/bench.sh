#!/bin/bash
# bench/run runs, counts rows, tells of what fails, and its history can be read. Nothing is timed here; peers are left out.
. "${srcdir:-.}/tests/lib.sh"
need sqlite3 sqlite3
plan 12

mkdir "$work/copy"
cp -r "$srcdir/bench" "$work/copy/bench" # with a case more
chmod -R u+w "$work/copy"
cat >"$work/copy/bench/cases/wrong.sh" <<'CASE'
# contenders that fail
wrong_rows() { true; }
wrong_rows_rows() { echo 3; }
wrong_status() { return 7; }
wrong_none() { true; }
case_wrong() {
    contender qetl 'with three rows' '' wrong_rows
    contender limit 'with status seven' '' wrong_status
    contender limit 'with a program that nobody has' 'a-program-that-nobody-has' wrong_none
    contender limit 'that works' '' wrong_none
    race 'a race' 2 rows/s
}
CASE
run() { BENCH_BUILD=no builddir=$builddir BENCH_DIR=$work/bench SCALE=${SCALE:-0.001} REPEAT=1 "$work/copy/bench/run" "$@"; }

is 'each case has its line in the list' "$(run --list | awk 'NF > 1' | wc -l)" "$(find "$work/copy/bench/cases" -name '*.sh' | wc -l)"
out=$(run nonsense 2>&1) && rc=0 || rc=$?
like 'a case that is none is named' "$rc $out" "^2 .*'nonsense' is no case"

out=$(run --no-peers --json "$work/history" csv way tiny big start limits 2>&1) && rc=0 || rc=$?
is 'six cases run, and every row count is as it must be' "$rc" 0 || diag "$out"
for figure in 'file to committed rows' 'local files of 10 rows to committed' 'orders.csv.gz to committed rows' 'submit to loaded, p50'; do
    like "there is a figure: $figure" "$(grep -F "\"$figure\"" "$work/history")" '"value":[0-9.e+]*[1-9]'
done
is 'the data is gone' "$(find "$work/bench" -mindepth 1 -path '*/data/*' | wc -l)" 0

out=$(run wrong 2>&1) && rc=0 || rc=$?
is 'a contender that fails is told by the status' "$rc" 1
like 'a wrong number of rows is a failure' "$out" 'with three rows: 3 rows, not 2'
like '... and the others run, failing or not' "$(tr '\n' ' ' <<<"$out")" 'with status seven: status 7.*limit: that works .*with a program that nobody has: a-program-that-nobody-has \('

if command -v jq >/dev/null; then
    like 'the history becomes tables' "$("$work/copy/bench/table" "$work/history" csv)" '^\| qetl \| \*\*[0-9.]+[kM]?\*\* rows/s \|'
else
    skip 'jq is missing (apt-get install jq)'
fi
