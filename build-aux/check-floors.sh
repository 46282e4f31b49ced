#!/bin/sh
# Every #include "x.h" under src/ names a header that stands before the includer's own line in src/FLOORS, or on that line: a
# line is one module, its header first, then what is private to it. Programs (bin/) stand above all.
cd "${srcdir:-.}/src" && [ -e FLOORS ] || exit 99
echo 1..1
if find . -name '*.[ch]' | sed 's|^\./||' | sort | xargs awk '
    BEGIN { while ((getline line < "FLOORS") > 0) if (line !~ /^(#|$)/) { n++
        m = split(line, names, " "); for (i = 1; i <= m; i++) rank[names[i]] = n } }
    FNR == 1 { own = FILENAME; header = own; sub(/\.c$/, ".h", header)
        mine = (own in rank) ? rank[own] : (header in rank) ? rank[header] : n + 1
        if (mine > n && own !~ /^bin\//) { print "# " own " has no line in src/FLOORS"; bad = 1 } }
    /^#include "/ { split($0, q, "\""); h = q[2]
        if (h == "config.h" || h == header) next
        if (!(h in rank)) { print "# " FILENAME ":" FNR ": " h " has no line in src/FLOORS"; bad = 1 }
        else if (rank[h] > mine) { print "# " FILENAME ":" FNR ": " h " stands above " own; bad = 1 } }
    END { exit bad }'
then echo 'ok 1 - every file includes only what stands below it'
else echo 'not ok 1 - every file includes only what stands below it'; fi
