#!/bin/sh
# rows.sh N [FIRST]: N rows of CSV (id, amount), each row different, for tests that compare row by row.
first=${2:-1}
awk -v n="$1" -v first="$first" 'BEGIN { print "id,amount"
    for (i = first; i < first + n; i++) printf "%d,%d.%02d\n", i, i * 7 % 100003, i * 13 % 100 }'
