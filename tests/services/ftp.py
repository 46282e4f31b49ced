"""ftp.py PORT ROOT: the FTP server of `ftp`, with users for whom it fails."""
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler, ThrottledDTPHandler
from pyftpdlib.servers import FTPServer

CUT = 200_000
users = DummyAuthorizer()
LIES = {
    "up": b"type=file;size=1; ../up.csv\r\n",
    "half": b"type=file;size=1; a.csv\r\ntype=file;size=1; b.c",
    "long": b"type=file;size=1; " + b"x" * 1_000_000 + b"\r\n",
    "round": b"type=dir; round\r\n",
    "none": b"",
}
for name in ("user", "slow", "cut", "busy", "plain", "one", *LIES):
    users.add_user(name, "password", sys.argv[2], perm="elrdfmw" if name in ("user", "plain") else "elr")
users.add_anonymous(sys.argv[2], perm="elr")


class Cut(DTPHandler):
    """Dies in the middle: the data connection and the control connection at once."""

    ac_out_buffer_size = 16384

    def send(self, data):
        if self.tot_bytes_sent >= CUT:
            self.cmd_channel.close()
            return 0
        return super().send(data)


class Slow(ThrottledDTPHandler):
    write_limit = 32768


class Handler(FTPHandler):
    authorizer, banner = users, "tests"
    ones = set()  # connections of the user who may have one

    def ftp_MLSD(self, path):
        if self.username == "plain":
            self.respond("500 no such command")
        elif self.username in LIES:
            self.push_dtp_data(LIES[self.username], cmd="MLSD")
        else:
            return super().ftp_MLSD(path)
        return None

    def on_login(self, username):
        self.dtp_handler = {"cut": Cut, "slow": Slow}.get(username, DTPHandler)
        if username == "busy" or (username == "one" and Handler.ones):
            self.respond("421 too many users")
            self.close_when_done()
        elif username == "one":
            Handler.ones.add(self)

    def on_disconnect(self):
        Handler.ones.discard(self)


FTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
