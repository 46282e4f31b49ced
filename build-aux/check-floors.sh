#!/bin/sh
# Every #include "x.h" under src/ names a header that stands before the includer's own line in src/FLOORS.
# A floor never calls up; a file of the same name as its header stands on that header's line.
cd "${srcdir:-.}/src" || exit 99
echo 1..1
if find . -name '*.[ch]' | sed 's|^\./||' | sort | xargs awk '
    BEGIN { while ((getline line < "FLOORS") > 0) if (line !~ /^(#|$)/) rank[line] = ++n }
    FNR == 1 { own = FILENAME; sub(/\.c$/, ".h", own); mine = (own in rank) ? rank[own] : n + 1
        if (FILENAME ~ /\.h$/ && !(own in rank)) { print "# " own " has no line in src/FLOORS"; bad = 1 } }
    /^#include "/ { split($0, q, "\""); h = q[2]
        if (h == "config.h" || h == own) next
        if (!(h in rank)) { print "# " FILENAME ":" FNR ": " h " has no line in src/FLOORS"; bad = 1 }
        else if (rank[h] >= mine) { print "# " FILENAME ":" FNR ": " h " stands above " own; bad = 1 } }
    END { exit bad }'
then echo 'ok 1 - every file includes only what stands below it'
else echo 'not ok 1 - every file includes only what stands below it'; fi
