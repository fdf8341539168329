// libp2p.mjs: js-libp2p as it comes, TCP and QUIC, Noise, yamux, identify, GossipSub with StrictSign, and circuit relay.
// It does what the lines of its standard input say, and answers each with {"done":NUMBER,…} or {"done":NUMBER,"failed":WHY}:
// {"make":NAME,"key":KIND?,"listen":BOOLEAN?}, and of those it made {"as":NAME, …} one of "join":TOPIC, "leave":TOPIC,
// "dial":ADDRESS, "publish":TOPIC with "text":TEXT, "reserve":ADDRESS, "connections":true, "stop":true.
// What happens it says by itself: {"event":"subscribed"|"message"|"gone", "at":NAME, …}.
import { createInterface } from 'node:readline';
import { noise } from '@chainsafe/libp2p-noise';
import { quic } from '@chainsafe/libp2p-quic';
import { yamux } from '@chainsafe/libp2p-yamux';
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { gossipsub } from '@libp2p/gossipsub';
import { identify } from '@libp2p/identify';
import { tcp } from '@libp2p/tcp';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';

const made = new Map();
const tell = (value) => console.log(JSON.stringify(value));

async function make({ make: name, key = 'Ed25519', listen = false }) {
  const node = await createLibp2p({
    privateKey: await generateKeyPair(key),
    addresses: { listen: listen ? ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/udp/0/quic-v1'] : [] },
    transports: [tcp(), quic(), circuitRelayTransport()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    services: {
      identify: identify(),
      pubsub: gossipsub({ globalSignaturePolicy: 'StrictSign', emitSelf: false, runOnLimitedConnection: true }),
    },
  });
  made.set(name, node);
  const { pubsub } = node.services;
  pubsub.addEventListener('subscription-change', ({ detail: { peerId, subscriptions } }) => {
    for (const { topic, subscribe } of subscriptions) {
      tell({ event: subscribe ? 'subscribed' : 'unsubscribed', at: name, peer: peerId.toString(), topic });
    }
  });
  pubsub.addEventListener('gossipsub:message', ({ detail: { msg, msgId } }) => {
    tell({
      event: 'message', at: name, id: msgId, topic: msg.topic, type: msg.type, from: msg.from?.toString(),
      signature: msg.signature?.length, text: new TextDecoder().decode(msg.data),
    });
  });
  node.addEventListener('peer:disconnect', ({ detail }) => tell({ event: 'gone', at: name, peer: detail.toString() }));
  return { peer_id: node.peerId.toString(), addresses: node.getMultiaddrs().map(String) };
}

const connections = (node) => node.getConnections().map((one) => String(one.remoteAddr));

async function obey(order) {
  if (order.make) return make(order);
  const node = made.get(order.as);
  const { pubsub } = node.services;
  if (order.join) pubsub.subscribe(order.join);
  else if (order.leave) pubsub.unsubscribe(order.leave);
  else if (order.dial) await node.dial(multiaddr(order.dial));
  else if (order.publish) {
    const { recipients } = await pubsub.publish(order.publish, new TextEncoder().encode(order.text));
    return { recipients: recipients.length };
  } else if (order.reserve) {
    await node.components.transportManager.listen([multiaddr(`${order.reserve}/p2p-circuit`)]);
    return { addresses: node.getMultiaddrs().map(String) };
  } else if (order.stop) await node.stop();
  return { connections: connections(node) };
}

let number = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const done = number++;
  obey(JSON.parse(line)).then(
    (answer) => tell({ done, ...answer }),
    (error) => tell({ done, failed: String(error.stack ?? error) }),
  );
}
process.exit(0);
