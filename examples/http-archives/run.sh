#!/bin/sh
# Packs the archives, starts the server, loads both days, shows the attempts, stops the server.
set -e
for day in 2026-11-19 2026-11-20; do tar -czf "weather-$day.tar.gz" "data/$day"; done
rm -f port
python3 server.py port &
server=$!
trap 'kill "$server"' EXIT
tries=0
until [ -s port ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo 'the server does not start' >&2; exit 1; }
    sleep 0.1
done
PORT=$(cat port)
export PORT QETL_CONFIG=qetl.ini
qetlctl init
qetlctl submit weather -p day=2026-11-19
qetlctl submit weather -p day=2026-11-20
qetl drain
qetlctl errors
qetlctl jobs
