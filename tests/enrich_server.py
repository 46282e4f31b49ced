"""A server of facts for tests/e2e_enrich.sh, and all that can go wrong with one.

enrich_server.py FILE   listens on 127.0.0.1, writes its port into FILE; a line a request on standard output: ms, under way, path

/HOW/KEY answers {"name": "name of KEY", "length": its length, "at": {"n": requests so far}} by HOW:
  ok        at once                          slow     after 0.2 s
  slower    after 0.05 s                     flaky    500 the first time that KEY is asked for
  down      500                              none     404
  empty     {"name": null}                   html, half, type, long   what is no answer, while `mended` is not set
  limited   429 with Retry-After: 1 when more than two came within the last 0.3 s
  closed    429 with Retry-After: 3600       hang     after a minute
  secret    only with the header X-Key: s3cr3t-head and ?key=s3cr3t-url, else 403
  moved     301 to /ok/KEY
  login     only with user u and password s3cr3t-pass and the header X-More: 1, else 401
  sick      500 until /heal was asked for     outage   500 to the first 11 requests
  over      200 with an error in it until /lift was asked for, whose text says the key and header X-Key back
  sulky     the same, but only the first time that KEY is asked for
  picky     200 with an error in it for the keys k0 to k14
  zero      200 and {"status": "ZERO_RESULTS"}
  refused   403 with an error in it
  forget    404 for the key nobody, {"name": null} for the key void
POST /echo   the name is the text at `q` in the body, length the number at `n`
/mend        sets `mended`
/heal        ends sick
/lift        ends over
"""
import base64
import http.server
import json
import os
import sys
import threading
import time
from urllib.parse import parse_qs, unquote, urlsplit

PICKY = ["k%d" % i for i in range(15)]
lock, under_way, seen, mended, healed, lifted, recent, total, outage = threading.Lock(), 0, set(), [], [], [], [], 0, 0


class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.connection.setsockopt(6, 1, 1)  # TCP_NODELAY

    def do_GET(self):
        self.count(lambda: self.serve(b""))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.count(lambda: self.serve(body))

    def count(self, call):
        global under_way, total
        with lock:
            under_way += 1
            total += 1
            print(int(time.time() * 1000), under_way, self.path.split("?")[0], flush=True)
        try:
            call()
        finally:
            with lock:
                under_way -= 1

    def serve(self, body):
        url = urlsplit(self.path)
        parts = url.path.split("/", 2)
        how, key = parts[1], unquote(parts[2] if len(parts) > 2 else "")
        wait = {"slow": 0.2, "slower": 0.05, "hang": 60}.get(how)
        if wait:
            time.sleep(wait)
        if how == "echo":
            asked = json.loads(body)
            return self.send(200, {"name": asked["q"], "length": asked["n"]})
        if how == "mend":
            mended.append(1)
        if how == "heal":
            healed.append(1)
        if how == "lift":
            lifted.append(1)
        with lock:
            first = self.path not in seen
            seen.add(self.path)
        if how == "down" or (how == "flaky" and first) or (how == "sick" and not healed) or (how == "outage" and self.is_out()):
            return self.send(500, {})
        if (how == "over" and not lifted) or (how == "sulky" and first) or how == "refused":
            said = "over limit: " + " ".join(parse_qs(url.query).get("key", [])) + " " + (self.headers.get("X-Key") or "")
            return self.send(403 if how == "refused" else 200, {"error": said.strip(), "status": "OVER_QUERY_LIMIT"})
        if how == "forget" and key in ("nobody", "void"):
            return self.send(404 if key == "nobody" else 200, {"name": None})
        if how == "picky" and key in PICKY:
            return self.send(200, {"error": "no such range"})
        if how == "zero":
            return self.send(200, {"status": "ZERO_RESULTS"})
        if how == "none":
            return self.send(404, {})
        if how == "empty":
            return self.send(200, {"name": None})
        if how == "closed":
            return self.send(429, {}, [("Retry-After", "3600")])
        if how == "moved":
            return self.send(301, {}, [("Location", "/ok/" + key)])
        if how == "limited" and self.too_many():
            return self.send(429, {}, [("Retry-After", "1")])
        if how == "secret":
            good = self.headers.get("X-Key") == "s3cr3t-head" and parse_qs(url.query).get("key") == ["s3cr3t-url"]
            if not good:
                return self.send(403, {})
        if how == "login":
            basic = "Basic " + base64.b64encode(b"u:s3cr3t-pass").decode()
            if self.headers.get("Authorization") != basic or self.headers.get("X-More") != "1":
                return self.send(401, {})
        if how in ("html", "half", "type", "long") and not mended:
            return self.wrong(how)
        return self.send(200, {"status": "OK", "error": None, "name": "name of " + key, "length": len(key), "at": {"n": total}})

    def is_out(self):
        global outage
        with lock:
            outage += 1
            return outage <= 11

    def too_many(self):
        with lock:
            now = time.monotonic()
            recent[:] = [t for t in recent if now - t < 0.3]
            if len(recent) >= 2:
                return True
            recent.append(now)
            return False

    def wrong(self, how):
        if how == "type":
            return self.send(200, {"name": "x", "length": "many"})
        text = {"html": b"<html><body>Welcome to the hotel</body></html>", "half": b'{"name": "ha', "long": b" " * 100000 + b"{}"}[how]
        self.send(200, text)

    def send(self, status, document, headers=()):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *args):
        pass  # a client that went away


server = Server(("127.0.0.1", 0), H)
with open(sys.argv[1] + ".new", "w") as out:
    out.write(str(server.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
