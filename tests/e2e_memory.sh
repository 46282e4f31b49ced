#!/bin/bash
# Memory does not grow with the file. Measured is VmHWM of /proc/PID/status, the peak resident set as the kernel keeps it, of the
# worker, its reader child and the loader, each fresh for one file, read when the file is loaded.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
new_site <<INI
[pipeline t]
columns = id:integer!, amount:decimal(2), filler:text!
table   = warehouse.t
mode    = replace
INI
qetlctl init >/dev/null
if sanitized "$bin/qetl"; then
    skip 'memory of a sanitized build is no measure' 4
else
    filled() { awk -v n="$1" 'BEGIN { print "id,amount,filler"; f = sprintf("%180s", ""); gsub(/ /, "x", f); for (i = 1; i <= n; i++) print i "," i % 997 ".25," f i }'; }
    filled 50000 >"$work/10.csv"
    peaks() { # FILE: sets peak[worker], peak[reader], peak[loader] in KiB, by processes that did nothing else
        local w l
        start_role worker; w=$role_pid
        start_role loader; l=$role_pid
        qetlctl submit t "$1" --wait >"$work/out" 2>&1 || diag "$(cat "$work/out")"
        w=$(kid "$w") l=$(kid "$l")
        peak="worker $(hwm "$w") reader $(hwm "$(kid "$w")") loader $(hwm "$l")"
        stop_roles
    }
    hwm() { awk '/^VmHWM/ { print $2 }' "/proc/$1/status"; }
    differ() { awk -v a="$1" -v b="$2" 'BEGIN { split(a, x); split(b, y); bad = 0
        for (i = 2; i <= 6; i += 2) if (y[i] == "" || y[i] - x[i] > 8192 || y[i] > 131072) bad = 1; exit bad }'; }
    peaks "$work/10.csv"; small=$peak
    { cat "$work/10.csv"; for i in $(seq 29); do tail -n +2 "$work/10.csv"; done; } >"$work/300.csv"
    peaks "$work/300.csv"; large=$peak
    is '300 MB are loaded' "$(sql 'SELECT count(*) FROM t')" 1500000
    diag "KiB, 10 MB: $small; 300 MB: $large"
    ok 'memory does not grow with the file' differ "$small" "$large"
    gzip -1 <"$work/10.csv" >"$work/10.csv.gz"
    gzip -1 <"$work/300.csv" >"$work/300.csv.gz"
    rm "$work/300.csv"
    peaks "$work/10.csv.gz"; small=$peak
    peaks "$work/300.csv.gz"; large=$peak
    diag "KiB, gz, 10 MB: $small; 300 MB: $large"
    ok '... nor with a gz' differ "$small" "$large"
    is '... nor by the word of the queue' "$(queue_sql "SELECT max(peak_rss) < 134217728 AND min(peak_rss) > 0 FROM attempt WHERE kind = 'work'")" 1
fi
done_testing
