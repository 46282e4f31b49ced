#!/bin/sh
# Submit each file of inbox/, work until nothing is left, move what was loaded to loaded/.
cd "$(dirname "$0")" || exit 1
export QETL_CONFIG=qetl.ini
qetlctl init >/dev/null || exit
set -- inbox/*.csv
[ -e "$1" ] || exit 0
for file; do
    qetlctl submit stock "$file" --unique "$file" || exit
done
qetl drain --max-wait 10m || exit
mkdir -p loaded && mv "$@" loaded/
