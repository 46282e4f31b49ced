"""A busy file server: serves this folder on 127.0.0.1, and answers the first request with 503 and Retry-After: 1.

server.py FILE   writes its port into FILE when it listens
"""
import http.server
import os
import sys


class Busy(http.server.SimpleHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        Busy.asked += 1
        if Busy.asked > 1:
            return super().do_GET()
        self.send_response(503)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy)
with open(sys.argv[1] + ".new", "w") as out:
    out.write(str(server.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
