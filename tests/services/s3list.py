"""s3list.py PORT BYTES: the store of `s3list`."""
import http.server
import socketserver
import sys
import urllib.parse

PAGE, BYTES = 1000, int(sys.argv[2])


def key(i):
    return "in/" + "x" * max(0, BYTES - 12) + "%08d.csv" % i


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def do_GET(self):
        path, _, query = self.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        count = int(path.strip("/"))
        first = int(asked["continuation-token"]) if "continuation-token" in asked else 0
        if "start-after" in asked:
            first = int(asked["start-after"][-12:-4]) + 1
        last = min(first + PAGE, count)
        inner = "".join("<Contents><Key>%s</Key><Size>%d</Size><ETag>&quot;%032x&quot;</ETag>"
                        "<LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>" % (key(i), i % 1000, i) for i in range(first, last))
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken>" % last if last < count else \
            "<IsTruncated>false</IsTruncated>"
        body = ('<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult>%s<EncodingType>url</EncodingType>%s</ListBucketResult>'
                % (more, inner)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
