"""An origin whose well-known document leads elsewhere: origin_liar.py KIND ADDRESS CERT KEY.

KIND is `redirect=URL`, `endless` (bytes without end) or `other` (JSON that is no document).
"""

import http.server
import ssl
import sys

kind, address, cert, key = sys.argv[1:5]


class Liar(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if kind.startswith("redirect="):
            self.send_response(302)
            self.send_header("Location", kind.removeprefix("redirect="))
            self.end_headers()
            return
        other = b'{"endpoint": 5}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if kind == "other":
            self.send_header("Content-Length", str(len(other)))
        self.end_headers()
        try:
            if kind == "endless":
                while True:
                    self.wfile.write(b" " * 65536)
            self.wfile.write(other)
        except OSError:
            pass  # whoever asked has heard enough

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer((address, 443), Liar)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
