"""collector.py: takes OTLP traces over HTTP, as a collector does, and reads them by OpenTelemetry's own protobuf.

Prints every span, one JSON object a line. It ends when its standard input ends.
"""
import http.server
import json
import sys
import threading

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


def attributes(of):
    return {one.key: next(iter(MessageToDict(one.value).values()), None) for one in of}


class Door(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        request = ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf", self.headers
        for resource in request.resource_spans:
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                print(json.dumps({
                    "name": span.name, "trace": span.trace_id.hex(), "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(), "attributes": attributes(span.attributes),
                    "resource": attributes(resource.resource.attributes), "token": self.headers["Authorization"],
                    "took": span.end_time_unix_nano - span.start_time_unix_nano, "start": span.start_time_unix_nano,
                }), flush=True)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"ready": f"http://127.0.0.1:{server.server_port}"}), flush=True)
sys.stdin.read()
