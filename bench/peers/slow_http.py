"""An HTTP server that answers each GET with the same JSON after a while, on any number of connections.

slow_http.py PORT MS
"""
import asyncio
import sys

BODY = b'{"name":"a name of some length","at":{"city":"a city"},"n":12345}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
delay = float(sys.argv[2]) / 1000


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.rest = transport, b""

    def data_received(self, data):
        self.rest += data
        n = self.rest.count(b"\r\n\r\n")
        if n:
            self.rest = self.rest.rsplit(b"\r\n\r\n", 1)[1]
            asyncio.get_running_loop().call_later(delay, self.transport.write, ANSWER * n)


async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", int(sys.argv[1]), backlog=512)
    await server.serve_forever()


asyncio.run(main())
