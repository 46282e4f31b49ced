#!/bin/sh
# Files of a folder and their sizes, as CSV.
cd "$QETL_PARAM_FOLDER" || exit 1
echo "file,bytes"
for f in *; do
    echo "$f,$(wc -c <"$f" | tr -d ' ')"
done
