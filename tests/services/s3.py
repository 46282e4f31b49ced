"""A store that speaks S3 and believes nobody: s3.py DIR PORT REGION ACCESS SECRET.

It checks Signature Version 4 to the letter (canonical path and query, the signed headers, region, date, hash of the
body), keeps objects in DIR/data/BUCKET, and answers in pages of 7 so that every list has some.

Faults: lines of DIR/faults, "REGEX TIMES WHAT", matched against "METHOD /bucket/key?query" in order; a line is used up
after TIMES requests. WHAT:
    503     SlowDown, and nothing is done         500   InternalError, and nothing is done
    drop    done, but the connection is closed    late  done; answered after half a second
    cut     half of the body, then closed         exit  the server dies before it does it
    exit-after   the server dies when it is done, without an answer
    slow    done half a second later; others go on meanwhile
    501     NotImplemented where there is a condition
    blind   conditions are not looked at
    hold    done when a "release" comes, or there is a file DIR/release; others go on meanwhile; DIR/held is how many
    release behind all that is held, and is done then
    403     AccessDenied, and nothing is done
    replace somebody puts another object there before it is done
    error200     CompleteMultipartUpload, CopyObject: not done, 200 with an <Error> in it
"""
import hashlib
import hmac
import http.server
import json
import os
import re
import socketserver
import sys
import threading
import time
import urllib.parse
import uuid
from datetime import datetime, timezone
from xml.sax.saxutils import escape

DIR, PORT, REGION, ACCESS, SECRET = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
PAGE = 7
PART_MIN = 5 << 20
guard = threading.RLock()
in_hand = held = 0
UNRESERVED = "-_.~"


class Refused(Exception):
    def __init__(self, status, code, words=""):
        super().__init__(code)
        self.status, self.code, self.words = status, code, words


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def md5(data):
    return hashlib.md5(data).hexdigest()


# ---- objects: a file a key, its facts in a file beside it ----
def place(bucket, key):
    folder = os.path.join(DIR, "data", bucket)
    if not os.path.isdir(folder):
        raise Refused(404, "NoSuchBucket", "no bucket of that name")
    return os.path.join(folder, hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest())


def facts_of(path):
    try:
        with open(path + ".facts", encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return None


def keep(bucket, key, data, etag):
    path = place(bucket, key)
    facts = {"key": key, "size": len(data), "etag": etag, "time": time.time()}
    for name, content in ((path, data), (path + ".facts", json.dumps(facts).encode())):
        with open(name + ".new", "wb") as f:
            f.write(content)
        os.rename(name + ".new", name)


def keys(bucket):
    folder = os.path.dirname(place(bucket, "x"))
    found = [facts_of(os.path.join(folder, n[:-6])) for n in os.listdir(folder) if n.endswith(".facts")]
    return sorted((f for f in found if f), key=lambda f: f["key"])


def fault_for(line):
    path = os.path.join(DIR, "faults")
    with guard:
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8") as f:
            lines = [l.split() for l in f if l.strip()]
        for l in lines:
            if int(l[1]) > 0 and re.search(l[0], line):
                l[1] = str(int(l[1]) - 1)
                with open(path + ".new", "w", encoding="utf-8") as f:
                    f.writelines(" ".join(x) + "\n" for x in lines)
                os.rename(path + ".new", path)
                return l[2]
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fault = None

    def log_message(self, *args):
        pass

    # ---- the signature ----
    def check(self, body):
        path, _, query = self.path.partition("?")
        plain = urllib.parse.unquote(path, errors="surrogateescape")
        if urllib.parse.quote(plain, safe="/" + UNRESERVED, errors="surrogateescape") != path:
            raise Refused(403, "SignatureDoesNotMatch", "the path is not encoded as it must be")
        auth = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=(\S+?)/(\d{8})/([^/]+)/([^/]+)/aws4_request, *"
                            r"SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})", self.headers.get("Authorization", ""))
        if not auth:
            raise Refused(403, "AccessDenied", "no signature")
        access, day, region, service, names, signature = auth.groups()
        if access != ACCESS:
            raise Refused(403, "InvalidAccessKeyId", "no such access key")
        if region != REGION or service != "s3":
            raise Refused(400, "AuthorizationHeaderMalformed", f"the region '{region}' is wrong; expecting '{REGION}'")
        stamp = self.headers.get("x-amz-date", "")
        try:
            then = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
        except ValueError:
            raise Refused(403, "AccessDenied", "no x-amz-date") from None
        if abs(time.time() - then) > 900 or not stamp.startswith(day):
            raise Refused(403, "RequestTimeTooSkewed", "the clocks differ too much")
        claimed = self.headers.get("x-amz-content-sha256")
        if claimed is None:
            raise Refused(400, "MissingSecurityHeader", "x-amz-content-sha256 is missing")
        if claimed != hashlib.sha256(body).hexdigest():
            raise Refused(400, "XAmzContentSHA256Mismatch", "the body is not what was signed")
        listed = names.split(";")
        must = {"host"} | {n.lower() for n in self.headers if n.lower().startswith("x-amz-")}
        if listed != sorted(listed) or not must <= set(listed):
            raise Refused(403, "AccessDenied", "headers that must be signed are not")
        pairs = [p.partition("=") for p in query.split("&")] if query else []
        encode = lambda s: urllib.parse.quote(urllib.parse.unquote(s, errors="surrogateescape"), safe=UNRESERVED,
                                              errors="surrogateescape")
        canonical_query = "&".join(sorted(encode(k) + "=" + encode(v) for k, _, v in pairs))
        if canonical_query != query:
            raise Refused(403, "SignatureDoesNotMatch", "the query is not sorted and encoded as it must be")
        lines = "".join(f"{n}:{' '.join(','.join(self.headers.get_all(n, [''])).split())}\n" for n in listed)
        request = "\n".join([self.command, path, canonical_query, lines, names, claimed])
        scope = f"{day}/{region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = sign(sign(sign(sign(("AWS4" + SECRET).encode(), day), region), "s3"), "aws4_request")
        if not hmac.compare_digest(sign(key, text).hex(), signature):
            raise Refused(403, "SignatureDoesNotMatch", "the signature does not match")

    # ---- answers ----
    def answer(self, status, body=b"", headers=()):
        if self.fault in ("drop", "exit-after"):
            if self.fault == "exit-after":
                os._exit(1)
            self.close_connection = True
            return
        if self.fault == "late":
            time.sleep(0.5)
        self.send_response(status)
        names = dict(headers)
        names.setdefault("Content-Length", str(len(body)))
        for n, v in names.items():
            self.send_header(n, v)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault == "cut":
            body = body[:len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def xml(self, status, name, inner):
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}>{inner}</{name}>'.encode("utf-8", "surrogateescape")
        self.answer(status, body, [("Content-Type", "application/xml")])

    def refuse(self, r):
        if self.command == "HEAD":
            self.answer(r.status)
        else:
            self.xml(r.status, "Error", f"<Code>{r.code}</Code><Message>{escape(r.words)}</Message>")

    # ---- requests ----
    def handle_any(self):
        global in_hand
        with guard:
            in_hand += 1
            among = in_hand
        try:
            self.handle_one_of(among)
        finally:
            with guard:
                in_hand -= 1

    def handle_one_of(self, among):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.fault = fault_for(self.command + " " + self.path)
        with open(os.path.join(DIR, "requests"), "a", encoding="utf-8") as log:
            log.write(f"{self.command} {self.path} {len(body)} {self.fault or '-'} {among}\n")
        if self.fault == "slow":
            time.sleep(0.5)
        if self.fault == "hold":
            self.hold()
        if self.fault == "release":
            self.release()
        try:
            if self.fault == "exit":
                os._exit(1)
            if self.fault == "503":
                raise Refused(503, "SlowDown", "reduce your request rate")
            if self.fault == "500":
                raise Refused(500, "InternalError", "try again")
            if self.fault == "403":
                raise Refused(403, "AccessDenied", "not you")
            self.check(body)
            path, _, query = self.path.partition("?")
            asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
            bucket, _, key = urllib.parse.unquote(path[1:], errors="surrogateescape").partition("/")
            with guard:
                if self.fault == "replace":
                    keep(bucket, key, b"id\n777\n", '"' + md5(b"id\n777\n") + '"')
                getattr(self, "on_" + self.command)(bucket, key, asked, body)
        except Refused as r:
            self.refuse(r)
        finally:
            if self.fault == "hold":
                self.count_held(-1)

    def count_held(self, more):
        global held
        with guard:
            held += more
            with open(os.path.join(DIR, "held.new"), "w", encoding="utf-8") as f:
                f.write(f"{held}\n")
            os.rename(os.path.join(DIR, "held.new"), os.path.join(DIR, "held"))

    def hold(self):
        self.count_held(1)
        while not os.path.exists(os.path.join(DIR, "release")):
            time.sleep(0.01)

    def release(self):
        with open(os.path.join(DIR, "release"), "w", encoding="utf-8"):
            pass
        while held:
            time.sleep(0.01)
        os.unlink(os.path.join(DIR, "release"))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def conditions(self, facts):
        if self.fault == "blind":
            return
        if self.fault == "501" and (self.headers.get("If-None-Match") or self.headers.get("If-Match")):
            raise Refused(501, "NotImplemented", "no conditions here")
        if self.headers.get("If-None-Match") == "*" and facts and self.command == "PUT":
            raise Refused(412, "PreconditionFailed", "it is there")
        wanted = self.headers.get("If-Match")
        if wanted and not facts:
            raise Refused(404, "NoSuchKey", "no such key")
        if wanted and wanted != facts["etag"]:
            raise Refused(412, "PreconditionFailed", "another one is there")

    def on_GET(self, bucket, key, asked, _body):
        if not key:
            return self.list(bucket, asked)
        path = place(bucket, key)
        facts = facts_of(path)
        if not facts:
            raise Refused(404, "NoSuchKey", "no such key")
        self.conditions(facts)
        with open(path, "rb") as f:
            data = f.read()
        headers = [("ETag", facts["etag"]), ("Accept-Ranges", "bytes"),
                   ("Last-Modified", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(facts["time"])))]
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not part:
            return self.answer(200, data, headers + [("Content-Length", str(len(data)))])
        first = int(part[1])
        last = min(int(part[2]) if part[2] else len(data) - 1, len(data) - 1)
        if first >= len(data):
            raise Refused(416, "InvalidRange", "no such bytes")
        headers += [("Content-Range", f"bytes {first}-{last}/{len(data)}"), ("Content-Length", str(last - first + 1))]
        self.answer(206, data[first:last + 1], headers)

    on_HEAD = on_GET

    def list(self, bucket, asked):
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        after = asked.get("continuation-token", asked.get("start-after", ""))
        url = asked.get("encoding-type") == "url"
        name_of = (lambda n: urllib.parse.quote_plus(n, safe="/-_.*", errors="surrogateescape")) if url else escape
        if asked.get("list-type") != "2":
            raise Refused(400, "InvalidArgument", "only version 2 of the list")
        found, more, last = [], False, ""
        for f in keys(bucket):
            if not f["key"].startswith(prefix) or f["key"] <= after:
                continue
            cut = f["key"].find(delimiter, len(prefix)) if delimiter else -1
            name = f["key"][:cut + 1] if cut >= 0 else f["key"]
            if (cut >= 0 and after.startswith(name)) or (found and found[-1][0] == name):
                last = f["key"]
                continue
            if len(found) == PAGE:
                more = True
                break
            found.append((name, None if cut >= 0 else f))
            last = f["key"]
        inner = "".join(
            f"<CommonPrefixes><Prefix>{name_of(n)}</Prefix></CommonPrefixes>" if f is None else
            f"<Contents><Key>{name_of(n)}</Key><Size>{f['size']}</Size><ETag>{escape(f['etag'])}</ETag>"
            f"<LastModified>{datetime.fromtimestamp(f['time'], timezone.utc):%Y-%m-%dT%H:%M:%SZ}</LastModified></Contents>"
            for n, f in found)
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
        self.xml(200, "ListBucketResult",
                 f"<Prefix>{name_of(prefix)}</Prefix><IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{inner}"
                 + ("<EncodingType>url</EncodingType>" if url else ""))

    def upload(self, ident):
        folder = os.path.join(DIR, "uploads", ident)
        if not re.fullmatch(r"[0-9a-f-]+", ident) or not os.path.isdir(folder):
            raise Refused(404, "NoSuchUpload", "no such upload")
        return folder

    def on_PUT(self, bucket, key, asked, body):
        path = place(bucket, key)
        etag = '"' + md5(body) + '"'
        if "uploadId" in asked:
            folder = self.upload(asked["uploadId"])
            with open(os.path.join(folder, "%05d" % int(asked["partNumber"])), "wb") as f:
                f.write(body)
            return self.answer(200, b"", [("ETag", etag)])
        if "x-amz-copy-source" in self.headers:
            return self.copy(bucket, key)
        self.conditions(facts_of(path))
        keep(bucket, key, body, etag)
        self.answer(200, b"", [("ETag", etag)])

    def copy(self, bucket, key):
        source = urllib.parse.unquote(self.headers["x-amz-copy-source"], errors="surrogateescape").lstrip("/")
        if self.fault == "error200":
            return self.xml(200, "Error", "<Code>AccessDenied</Code><Message>it failed late</Message>")
        path = place(*source.partition("/")[::2])
        if not facts_of(path):
            raise Refused(404, "NoSuchKey", "no such key")
        with open(path, "rb") as f:
            data = f.read()
        etag = '"' + md5(data) + '"'
        keep(bucket, key, data, etag)
        self.xml(200, "CopyObjectResult", f"<ETag>{escape(etag)}</ETag>")

    def on_POST(self, bucket, key, asked, body):
        place(bucket, key)
        if "uploads" in asked:
            ident = str(uuid.uuid4())
            os.makedirs(os.path.join(DIR, "uploads", ident))
            return self.xml(200, "InitiateMultipartUploadResult", f"<Key>{escape(key)}</Key><UploadId>{ident}</UploadId>")
        folder = self.upload(asked.get("uploadId", ""))
        if self.fault == "error200":
            return self.xml(200, "Error", "<Code>InternalError</Code><Message>it failed late</Message>")
        named = re.findall(r"<Part><PartNumber>(\d+)</PartNumber><ETag>([^<]*)</ETag></Part>", body.decode())
        numbers = [int(n) for n, _ in named]
        if not named or numbers != sorted(set(numbers)):
            raise Refused(400, "InvalidPartOrder", "the parts are not in order")
        data, sums = [], b""
        for i, (n, etag) in enumerate(named):
            try:
                with open(os.path.join(folder, "%05d" % int(n)), "rb") as f:
                    data.append(f.read())
            except FileNotFoundError:
                raise Refused(400, "InvalidPart", f"part {n} was not sent") from None
            if md5(data[-1]) != etag.replace("&quot;", "").strip('"'):
                raise Refused(400, "InvalidPart", f"part {n} is another one")
            if len(data[-1]) < PART_MIN and i < len(named) - 1:
                raise Refused(400, "EntityTooSmall", f"part {n} is too small")
            sums += hashlib.md5(data[-1]).digest()
        keep(bucket, key, b"".join(data), f'"{md5(sums)}-{len(named)}"')
        self.drop_upload(folder)
        self.xml(200, "CompleteMultipartUploadResult", f"<Key>{escape(key)}</Key>")

    def drop_upload(self, folder):
        for n in os.listdir(folder):
            os.unlink(os.path.join(folder, n))
        os.rmdir(folder)

    def on_DELETE(self, bucket, key, asked, _body):
        path = place(bucket, key)
        if "uploadId" in asked:
            self.drop_upload(self.upload(asked["uploadId"]))
        else:
            if self.headers.get("If-Match"):
                self.conditions(facts_of(path))
            for name in (path + ".facts", path):
                if os.path.exists(name):
                    os.unlink(name)
        self.answer(204)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


Server(("127.0.0.1", PORT), Handler).serve_forever()
