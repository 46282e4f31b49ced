"""An HTTP/1.1 server that does wrong on request, and a proxy.

faults.py serve PORT          listen on 127.0.0.1
faults.py body N [VERSION]    write the N bytes that it serves

Every answer is made of knobs in the query; the path only makes the URL another one, for the counter of requests.
  n=BYTES           of the object (100000)         grow=BYTES   more at each request
  version=each      another body and validator at each request
  etag=strong|weak|none                            modified=none|old|fresh
  range=good|ignore|wrong|refuse|blind|bare|total  blind: whatever If-Range says; bare: 206 without validators; wrong: another
                                                   first byte; refuse: 416; total: another total
  length=right|chunked|close|long|short            long: more announced than sent; short: fewer
  cut=BYTES         of each answer, then how=fin|rst|stall|badchunk; times=N: only the first N answers
  drip=MS           a byte at a time
  status=CODE       the answer's status; after=TEXT is its Retry-After; on=A-B: only answers number A to B
  to=URL            its Location
  headers=BYTES     of further headers             encoding=NAME   says Content-Encoding, changes nothing
  endless=1         no end                         raw=garbage|empty
  echo=1            the body is the request
/count?of=PATH      how often PATH (with its query) was asked for
/ranges?of=PATH     the Range of each of these requests, a line each; - for none
A request in the absolute form (to a proxy) is served as if it were ours; CONNECT tunnels, but not to denied.invalid (407).
"""
import hashlib
import socket
import socketserver
import struct
import sys
import threading
import time
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

count, ranges, lock = {}, {}, threading.Lock()


def body(n, version=0):
    line = hashlib.sha256(b"version %d" % version).hexdigest()[:24]
    one = len("00000000,%s\n" % line)
    return "".join("%08d,%s\n" % (i, line) for i in range(n // one + 1)).encode()[:n]


class Gone(Exception):
    pass


class Answer(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        try:
            while self.one():
                pass
        except (Gone, OSError):
            pass

    def one(self):
        first = self.rfile.readline(65536).split()
        if len(first) != 3:
            return False
        self.head, self.request_text = {}, b" ".join(first) + b"\r\n"
        while (line := self.rfile.readline(65536)).strip():
            name, _, value = line.partition(b":")
            self.head[name.decode().lower()] = value.strip().decode()
            self.request_text += line
        if first[0] == b"CONNECT":
            return self.tunnel(first[1].decode())
        url = urlsplit(first[1].decode())
        path = url.path + ("?" + url.query if url.query else "")
        knobs = {k: v[-1] for k, v in parse_qs(url.query).items()}
        with lock:
            nth = count[path] = count.get(path, 0) + 1
            ranges[path] = ranges.get(path, "") + self.head.get("range", "-") + "\n"
        if url.path == "/count":
            return self.send(200, b"%d" % count.get(url.query.partition("of=")[2], 0))
        if url.path == "/ranges":
            return self.send(200, ranges.get(url.query.partition("of=")[2], "").encode())
        return self.answer(knobs, nth)

    def start(self, status, headers):
        lines = ["HTTP/1.1 %d so" % status] + ["%s: %s" % h for h in headers if h[1] is not None]
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def send(self, status, data, *headers):
        self.start(status, [("Content-Length", len(data)), *headers])
        self.wfile.write(data)
        return True

    def answer(self, k, nth):
        cuts = nth <= int(k.get("times", 1 << 30))
        first, _, last = k.get("on", "1-1000000").partition("-")
        if k.get("raw"):
            if k["raw"] == "garbage":
                self.wfile.write(b"\x00\xffno http here\r\n" * 20)
            return False
        if "echo" in k:
            return self.send(200, self.request_text)
        if "status" in k and int(first) <= nth <= int(last):
            return self.send(int(k["status"]), b"no", ("Retry-After", k.get("after")), ("Location", k.get("to")))
        version = nth if k.get("version") == "each" else 0
        whole = body(int(k.get("n", 100000)) + int(k.get("grow", 0)) * (nth - 1), version)
        mark = '"%s"' % hashlib.md5(whole).hexdigest()
        etag = {"strong": mark, "weak": "W/" + mark, "none": None}[k.get("etag", "strong")]
        old = formatdate(1700000000 + version * 60, usegmt=True)
        modified = {"none": None, "old": old, "fresh": formatdate(usegmt=True)}[k.get("modified", "none")]
        status, from_, headers = self.part(k.get("range", "good"), whole, etag, modified)
        headers += [("Date", formatdate(usegmt=True)), ("Content-Encoding", k.get("encoding"))]
        headers += [("X-Fill-%d" % i, "f" * 990) for i in range(int(k.get("headers", 0)) // 1000)]
        return self.deliver(k, status, whole[from_:], headers, cuts)

    def part(self, how, whole, etag, modified):
        wanted = self.head.get("range", "")
        valid = [("ETag", etag), ("Last-Modified", modified)]
        if not wanted.startswith("bytes=") or how == "ignore":
            return 200, 0, valid
        lo, n = int(wanted[6:].partition("-")[0]), len(whole)
        if how != "blind" and self.head.get("if-range", etag or modified) not in (etag, modified):
            return 200, 0, valid
        if how == "refuse" or lo >= n:
            return 416, n, [("Content-Range", "bytes */%d" % n)]
        if how == "wrong":
            return 206, 0, valid + [("Content-Range", "bytes 0-%d/%d" % (n - 1, n))]
        total = n + 1000 if how == "total" else n
        last = total - 1 if how == "total" else n - 1
        return 206, lo, ([] if how == "bare" else valid) + [("Content-Range", "bytes %d-%d/%d" % (lo, last, total))]

    def deliver(self, k, status, data, headers, cuts):
        length, cut = k.get("length", "right"), int(k["cut"]) if "cut" in k and cuts else None
        chunked = length == "chunked"
        if "endless" in k:
            self.start(status, headers)
            while True:
                self.wfile.write(data)
        announced = {"right": len(data), "long": len(data) + 1000, "short": len(data) - 1000}.get(length)
        self.start(status, headers + [("Content-Length", announced), ("Transfer-Encoding", "chunked" if chunked else None)])
        broken = cut is not None and cut < len(data)
        self.pour(data[:cut] if broken else data, chunked, float(k.get("drip", 0)) / 1000)
        if broken:
            self.break_off(k.get("how", "fin"))
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        return length in ("right", "chunked")

    def pour(self, data, chunked, pause):
        step = 1 if pause else 8192
        for i in range(0, len(data), step):
            piece = data[i:i + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if pause:
                time.sleep(pause)

    def break_off(self, how):
        if how == "stall":
            time.sleep(3600)
        if how == "badchunk":
            self.wfile.write(b"zz\r\n")
        if how == "rst":
            time.sleep(0.1)  # let the bytes be read: a reset throws away what waits
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        raise Gone

    def tunnel(self, where):
        host, _, port = where.rpartition(":")
        if host == "denied.invalid":
            return self.send(407, b"no", ("Proxy-Authenticate", "Basic realm=tests"))
        with socket.create_connection((host, int(port))) as other:
            with lock:
                count["CONNECT"] = count.get("CONNECT", 0) + 1
            self.start(200, [])
            back = threading.Thread(target=pump, args=(other, self.connection), daemon=True)
            back.start()
            pump(self.connection, other)
            back.join()
        return False


def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 64


if sys.argv[1] == "body":
    sys.stdout.buffer.write(body(int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
else:
    Server(("127.0.0.1", int(sys.argv[2])), Answer).serve_forever()
