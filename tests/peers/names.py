"""A name server that knows one name: names.py LISTEN NAME ADDRESS. It answers A, and nothing else."""

import socket
import struct
import sys

listen, name, address = sys.argv[1:4]
wanted = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((listen, 53))
print("ready", flush=True)
while True:
    query, sender = server.recvfrom(4096)
    end = query.index(b"\0", 12) + 1
    asked, kind = query[12:end], struct.unpack("!H", query[end : end + 2])[0]
    known = asked.lower() == wanted
    answer = known and kind == 1
    flags = 0x8580 if known else 0x8583
    head = query[:2] + struct.pack("!HHHHH", flags, 1, int(answer), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(address) if answer else b""
    server.sendto(head + query[12 : end + 4] + record, sender)
