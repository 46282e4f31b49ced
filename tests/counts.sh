#!/bin/bash
# The hot loops take no more instructions than bench/counts.tsv allows, and the comparison can fail.
. "${srcdir:-.}/tests/lib.sh"
need valgrind valgrind
case $("$bin/bench/hot" built) in *-fsanitize*) skip_all 'built with sanitizers, which valgrind cannot run' ;; esac

counts() { builddir=$builddir TMPDIR=$work "$srcdir/bench/counts" "$@"; }
plan 8

all=$(counts 2>&1) && rc=0 || rc=$?
is 'no loop costs more than the table allows' "$rc" 0
diag "$all"
is 'every loop is counted' "$(grep -c ' own .* all ' <<<"$all")" "$("$bin/bench/hot" list | wc -l)"

# tables of another time, made from the figures of now
counts --table csv-split >"$work/now"
export COUNTS_TABLE=$work/table
edit() { awk -F '\t' -v OFS='\t' "$1" "$work/now" >"$COUNTS_TABLE"; }

edit '$1 == "csv-split" { $3 *= 0.95 } { print }'
out=$(counts csv-split 2>&1) && rc=0 || rc=$?
is 'a loop that costs 5 percent more fails' "$rc" 1
like 'and is named' "$out" '^csv-split .*own IS MORE'

edit '$1 == "csv-split" { $3 *= 1.1 } { print }'
out=$(counts csv-split 2>&1) && rc=0 || rc=$?
like 'one that costs less is told of' "$rc $out" '^0 csv-split .*own is less: bench/counts --update'

edit '$1 == "@sqlite" { $2 = "3.0.0" } $1 == "csv-split" { $4 *= 0.5 } { print }'
out=$(counts csv-split 2>&1) && rc=0 || rc=$?
like 'with another library only our own code is compared' "$rc $out" '^0 the table: sqlite 3.0.0'
like 'which is said' "$out" 'all IS MORE \(not compared\)'

edit '$1 == "@compiler" { $2 = "1.0" } $1 == "csv-split" { $3 *= 0.5 } { print }'
out=$(counts csv-split 2>&1) && rc=0 || rc=$?
like 'with another compiler nothing fails' "$rc $out" '^0 the table: compiler 1.0'
