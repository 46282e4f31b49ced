#!/bin/sh
# Starts the geocoder, loads the stops twice, says how many requests each time took, stops the server.
set -e
(umask 077 && echo demo >api.key)
rm -f port
python3 server.py port &
server=$!
trap 'kill "$server"' EXIT
tries=0
until [ -s port ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { echo 'the server does not start' >&2; exit 1; }
    sleep 0.1
done
PORT=$(cat port)
export PORT QETL_CONFIG=qetl.ini
requests() { python3 -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())' "http://127.0.0.1:$PORT/requests"; }
qetlctl init
for time in first second; do
    qetlctl submit stops
    qetl drain
    echo "after the $time time the geocoder has answered $(requests) requests"
done
