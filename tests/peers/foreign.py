"""foreign.py ADDRESS: a foreign peer without a key, written from the protocol's text alone.

It advertises itself with python-zeroconf, answers the two calls that every peer answers, and
prints what it sees and gets, one JSON object a line. It ends when its standard input ends.
"""
import http.server
import json
import socket
import sys
import threading
import uuid

from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, Zeroconf

ADDRESS, KIND, ID = sys.argv[1], "_dashflow._tcp.local.", str(uuid.uuid4())


def say(**what):
    print(json.dumps(what), flush=True)


class Door(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path != "/dashflow/status":
            return self.answer(404, {})
        self.answer(200, {
            "id": ID, "name": "foreign", "version": "0.9.0", "capabilities": ["paint", "a,b"],
            "endpoint": f"http://{ADDRESS}:{PORT}", "status": None, "peer_count": 0, "queue_length": 0,
            "uptime_seconds": 1, "attention_mode": "focused",
        })

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        say(got=body, path=self.path)
        self.answer(202, {"accepted": True, "message_id": body.get("message", body).get("id"), "error": None})

    def log_message(self, *_):
        pass


class Seen:
    def add_service(self, zeroconf, kind, name):
        info = zeroconf.get_service_info(kind, name, 3000)
        if info and not name.startswith("foreign."):
            txt = {key.decode(): value.decode() if value else "" for key, value in info.properties.items()}
            say(seen=name, txt=txt, addresses=info.parsed_addresses(), port=info.port, ttl=info.host_ttl)

    update_service = add_service

    def remove_service(self, zeroconf, kind, name):
        say(gone=name)


server = http.server.ThreadingHTTPServer((ADDRESS, 0), Door)
PORT = server.server_port
threading.Thread(target=server.serve_forever, daemon=True).start()
zeroconf = Zeroconf(interfaces=[ADDRESS], ip_version=IPVersion.V4Only)
properties = {
    "txtvers": "1", "id": ID, "name": "foreign", "v": "0.9.0", "caps": "paint,a%2Cb",
    "endpoint": f"http://{ADDRESS}:{PORT}",
}
zeroconf.register_service(ServiceInfo(
    KIND, f"foreign.{KIND}", addresses=[socket.inet_aton(ADDRESS)], port=PORT, properties=properties,
    server="foreign.local.",
))
ServiceBrowser(zeroconf, KIND, Seen())
say(ready=ID)
sys.stdin.read()
zeroconf.unregister_all_services()
zeroconf.close()
