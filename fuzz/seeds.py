#!/usr/bin/env python3
"""Gives the fuzz targets something to begin with: what the test vectors hold, in `fuzz/corpus/TARGET`."""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE.parent / "crates/comity-core/vectors"


def vectors(name):
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


def put(target, seeds):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        seed = seed if isinstance(seed, bytes) else json.dumps(seed).encode()
        (folder / f"vector-{number}").write_bytes(seed)


messages = vectors("message")["messages"]
cards = vectors("card")["cards"]
frames = [bytes.fromhex(one["frame"]) for one in vectors("compact")["frames"]]
strings = [[string.encode() for string in record["strings"]] for record in vectors("txt")["records"]]
id_of = "0890ad7b-0be4-57f7-9ec7-fe070c98d9de"
put("json_message", [one[spelling] for one in messages for spelling in ("design", "coded", "signed")])
put("card", cards)
put("compact_frame", frames + [b"".join(frames)])
put("msgpack", [frame[64:] for frame in frames] + [frame[32:] for frame in frames])
put("txt", [b"".join(bytes([len(string)]) + string for string in record) for record in strings])
put("link_frame", [
    {"link": "hello", "protocol": "1.0.0", "boot": id_of, "card": cards[0], "channels": ["_status", "custom:x"],
     "subscriptions": [{"channel": "_bugs", "quiet": True}]},
    {"link": "channels", "names": ["custom:a", "custom:b"]},
    {"link": "subscribe", "channel": "_status", "quiet": False},
    {"link": "unsubscribe", "channel": "_status"},
    {"link": "receipt", "received": 7, "fates": [[id_of, "inbox"], [id_of, "expired"]]},
    {"link": "ping", "nonce": 1, "ts": 1782000000000},
    {"link": "pong", "nonce": 1, "ts": 1782000000000},
    {"link": "goodbye", "reason": "leaving"},
    messages[0]["design"],
])

gossip = vectors("gossip")
put("gossip", [one["message"] for one in gossip["messages"] + gossip["words"]] + [one["text"].encode() for one in gossip["foreign"]])

journal = vectors("journal")
put("journal", [line.encode() for line in journal["whole"] + journal["pruned"]] + [journal["proof"], journal["proof"]["head"], journal["growth"]]
    + ["".join(line + "\n" for line in journal["whole"]).encode(), {"text": "a", "number": 1.5, "list": [None, True]}])

digest = "00" * 32
put("transfer", ["\n".join(json.dumps(said) for said in talk).encode() + b"\nabcdef" for talk in [
    [{"say": "offer", "version": 1, "transfer": id_of, "files": 2, "bytes": 20, "names": ["a"]},
     {"say": "file", "file": 0, "path": "a/b", "size": 6}, {"say": "file", "file": 1, "path": "c", "size": 9},
     {"say": "checked", "file": 1, "sha256": digest}, {"say": "end", "file": 0, "sha256": digest}, {"say": "finish"}],
    [{"say": "accept", "version": 1}, {"say": "check", "file": 0, "upto": 5},
     {"say": "take", "file": 0, "from": 5}, {"say": "got", "bytes": 65536}, {"say": "done", "file": 1},
     {"say": "skip", "file": 2, "why": "exists"}, {"say": "failed", "why": "disk_full", "detail": "full"}],
]])
federation = vectors("federation")
headers = [one[name].encode() for one in federation["requests"] for name in ("header", "answer_header")]
put("federation", headers + federation["line"] + [federation["proof"]])

numbers = [0.5, -0.25, 0.1]
grip = {"id": id_of, "token": 3}
basins, shared = vectors("basin"), vectors("knowledge")
node = {"node_id": "ann", "service_name": "search", "endpoint": "https://ann.test:4860", "capabilities": ["search"],
        "basin_signature": numbers * 8, "dim": 24, "metric": "fisher-rao", "projection": "sphere", "encoder": "hash",
        "centroids": [numbers * 8]}
put("mesh", [
    *(update if isinstance(update, dict) else update.encode() for update in basins["updates"]),
    {"updates": [json.loads(update) if isinstance(update, str) else update for update in basins["updates"]], "next_cursor": "abc"},
    {"query": "rye", "limit": 3, "include_nodes": ["ann"], "timeout_ms": 500, "filter": {"kind": "tree"}}, {"basin": numbers * 8},
    {"results": [{"source_node": "ann", "doc_id": "one", "url": "https://x.test/", "title": "a", "snippet": "b",
                  "basin_distance": 0.5, "mesh_score": 0.84}], "nodes_queried": 1,
     "nodes_failed": [{"node": "bob", "cause": "late"}], "total_time_ms": 3, "metric": "fisher-rao"},
    [{"url": "https://x.test/", "title": "a", "text": "b", "metadata": {"kind": "tree", "n": 1}}, {"doc_id": "one", "basin": numbers}],
    *shared["entries"], {"knowledge": shared["entries"], "next_cursor": "abc"}, {"topic": "weather", "limit": 5, "min_confidence": 0.5},
    node, {"node_id": "ann", "load": {"running": 1, "queued": 2, "cpu": 0.5, "memory": 0.25}, "centroids": [numbers * 8]},
    {"node_id": "ann", "heartbeat_interval_seconds": 30, "nodes": [node]}, {"ok": True, "peers_changed_since": "2026-06-21T00:00:00Z"},
    {"nodes": [node], "next": "ann"}, b"kind=tree", b"2026-06-21T00:00:00.000Z",
])
put("task", [
    {"kind": "k", "capability": "c", "payload": {"a": [1, 2]}, "requirements": {"gpu": True, "memory": 8, "os": "linux"},
     "priority": 3, "deadline": "2026-06-21T00:00:00Z", "max_attempts": 2, "lease_seconds": 5, "idempotency_key": "one"},
    [{"kind": "k", "capability": "c"}, {"kind": "k", "capability": "c", "payload": None}],
    {"capabilities": ["c"], "properties": {"gpu": True}, "wanted": 4, "wait_ms": 10, "slots_free": 2, "load": 0.5},
    {"leases": [grip]}, {"done": [{**grip, "result": {"a": 1}}]},
    {"failed": [{**grip, "error": "no", "retry": False, "begun": True}]}, {"token": 3, "fraction": 0.5, "line": "a", "lines": ["b"]},
])
