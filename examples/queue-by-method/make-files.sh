#!/bin/sh
# make-files.sh N: N files of meters in inbox/, and a message for each on standard output.
mkdir -p inbox
awk -v n="$1" 'BEGIN {
    for (i = 1; i <= n; i++) {
        meter = sprintf("m%07d", i)
        file = "inbox/" meter ".csv"
        printf "meter,day,kwh\n%s,2026-11-19,%d.%03d\n%s,2026-11-20,%d.%03d\n", meter, i % 40, i % 1000, meter, i % 40 + 1, i % 1000 >file
        close(file)
        printf "{\"method\": \"meter_reading\", \"params\": {\"meter\": \"%s\"}}\n", meter
    }
}'
