"""sayer.py SOCKET CHANNEL NAME COUNT VOICES: says COUNT events on a channel by the control door of a node, several voices
at once, each one number after the other. It goes on whatever happens to the node, says nothing twice, and prints what was
acknowledged, a line each: NAME-VOICE-NUMBER.
"""
import http.client
import json
import socket
import sys
import threading
import time

path, channel, name, count, voices = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
printing = threading.Lock()


class Door(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(90)
        self.sock.connect(path)


def voice(number):
    door, said = Door("localhost"), 0
    while said < count // voices:
        event = {"channel": channel, "data": {"said": f"{name}-{number}-{said}"}}
        try:
            door.connect() if door.sock is None else None
            # What was sent may have been taken, whether or not an answer comes: it is not said again.
            said += 1
            door.request("POST", "/control/channels/events", json.dumps(event), {"Content-Type": "application/json"})
            answer = door.getresponse()
            answer.read()
            if answer.status == 200:
                with printing:
                    print(event["data"]["said"], flush=True)
            else:
                # It was refused: nothing of it is kept.
                said -= 1
                time.sleep(0.05)
        except OSError:
            door.close()
            time.sleep(0.05)
        except http.client.HTTPException:
            door.close()


threads = [threading.Thread(target=voice, args=(number,)) for number in range(voices)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
