"""libp2p_peer.py: py-libp2p as it comes, TCP, Noise, yamux and GossipSub with signatures.

It does what the lines of its standard input say, and answers each with {"done":NUMBER,...}: {"join":TOPIC},
{"dial":ADDRESS}, {"heard_by":TOPIC} once somebody listens there, {"publish":TOPIC,"text":TEXT}. What it hears it says
by itself: {"event":"message",...}. Its first line is {"done":-1,"peer_id":...}.
"""
import json
import logging
import sys

import multiaddr
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID, Transport as Noise
from libp2p.tools.anyio_service import background_trio_service

logging.disable(logging.WARNING)


def tell(**value):
    print(json.dumps(value), flush=True)


async def hear(topic, subscription, me):
    while True:
        message = await subscription.get()
        # It hears itself, too.
        if message.from_id == me.to_bytes():
            continue
        tell(event="message", at="py", topic=topic, type="signed" if message.signature else "unsigned",
             signature=len(message.signature), **{"from": str(ID(message.from_id))}, text=message.data.decode())


async def obey(order, host, pubsub, nursery):
    match order:
        case {"join": topic}:
            nursery.start_soon(hear, topic, await pubsub.subscribe(topic), host.get_id())
        case {"dial": address}:
            await host.connect(info_from_p2p_addr(multiaddr.Multiaddr(address)))
        case {"heard_by": topic}:
            # It tells nobody when a peer subscribes.
            with trio.fail_after(20):
                while not pubsub.peer_topics.get(topic):
                    await trio.sleep(0.05)
        case {"publish": topic, "text": text}:
            await pubsub.publish(topic, text.encode())


async def main():
    keys = create_new_key_pair()
    noise = Noise(libp2p_keypair=keys, noise_privkey=create_new_x25519().private_key)
    host = new_host(key_pair=keys, muxer_preference="YAMUX", sec_opt={PROTOCOL_ID: noise})
    # By default it looks after its neighbours every two minutes.
    gossip = GossipSub(protocols=[TProtocol("/meshsub/1.1.0")], degree=3, degree_low=2, degree_high=4, heartbeat_interval=1)
    pubsub = Pubsub(host, gossip, strict_signing=True)
    here = [multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]
    async with host.run(listen_addrs=here), background_trio_service(pubsub), background_trio_service(gossip):
        await pubsub.wait_until_ready()
        tell(done=-1, peer_id=str(host.get_id()), addresses=[str(one) for one in host.get_addrs()])
        async with trio.open_nursery() as nursery:
            number = 0
            while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
                try:
                    await obey(json.loads(line), host, pubsub, nursery)
                    tell(done=number)
                except Exception as error:
                    tell(done=number, failed=repr(error))
                number += 1
            nursery.cancel_scope.cancel()


trio.run(main)
