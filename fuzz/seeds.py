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
