"""A small geocoder: the place of places.csv that is nearest to a point, if one is near, in the form that the large ones answer in.

server.py FILE   listens on 127.0.0.1 and writes its port into FILE

/reverse?latlng=LAT,LON&key=KEY   an answer takes 20 ms
/requests                         how many it has answered
"""
import csv
import http.server
import json
import math
import os
import sys
import time
from urllib.parse import parse_qs, urlsplit

with open("places.csv", newline="") as f:
    places = [(float(p["lat"]), float(p["lon"]), p) for p in csv.DictReader(f)]


def metres(a, b):
    east = (a[1] - b[1]) * math.cos(math.radians(a[0]))
    return round(111320 * math.hypot(a[0] - b[0], east))


def nearest(point):
    near = min(places, key=lambda p: metres(p, point))
    if metres(near, point) > 500:
        return {"results": [], "status": "ZERO_RESULTS"}
    address = {"formatted_address": near[2]["address"], "distance": metres(near, point), "place": {"city": near[2]["city"]}}
    return {"results": [address], "status": "OK"}


class Geocoder(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests = 0

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/requests":
            return self.answer(200, Geocoder.requests)
        Geocoder.requests += 1
        time.sleep(0.02)
        if query.get("key") != ["demo"]:
            return self.answer(200, {"results": [], "status": "REQUEST_DENIED"})
        return self.answer(200, nearest([float(x) for x in query["latlng"][0].split(",")]))

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Geocoder)
server.daemon_threads = True
with open(sys.argv[1] + ".new", "w") as out:
    out.write(str(server.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
