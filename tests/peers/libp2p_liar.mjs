// libp2p_liar.mjs: libp2p peers that break the rules of GossipSub. The connections are js-libp2p's, so that the liar is let
// in; what goes through them is made here. It does what the lines of its standard input say, and answers each with
// {"done":NUMBER,…}: {"make":NAME}, and of those it made {"as":NAME, …} one of "dial":ADDRESS, "subscribe":TOPIC,
// "say":TEXT on "topic":TOPIC ("forge":true: with a signature of nothing, "of":NAME: as another's, "number":NUMBER: with that
// sequence number), "again":NAME (what that one said last, as it was), "topics":COUNT, "graft":TOPIC, "frame":BYTES, some
// of it "times":COUNT; {"half":COUNT,"port":PORT}: connections that begin as libp2p's and go no further;
// {"crowd":COUNT,"dial":ADDRESS,"subscribe":TOPIC}: so many peers. {"event":"gone","at":NAME}: that one was thrown out.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { RPC } from '@libp2p/gossipsub/message';
import { publicKeyToProtobuf } from '@libp2p/crypto/keys';
import { identify } from '@libp2p/identify';
import { tcp } from '@libp2p/tcp';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';

const MESHSUB = '/meshsub/1.1.0';
const made = new Map();
const halves = [];
const tell = (value) => console.log(JSON.stringify(value));
const bytes = (text) => new TextEncoder().encode(text);

async function make({ make: name }) {
  const node = await createLibp2p({
    addresses: { listen: [] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    services: { identify: identify() },
  });
  const liar = { node, sequence: 0n };
  made.set(name, liar);
  // What the other side says is read and forgotten.
  await node.handle(MESHSUB, (stream) => stream.addEventListener('message', () => {}));
  node.addEventListener('peer:disconnect', () => tell({ event: 'gone', at: name }));
  return { peer_id: node.peerId.toString() };
}

function length(count) {
  const out = [];
  for (; count > 127; count = Math.floor(count / 128)) out.push((count % 128) | 128);
  return Uint8Array.from([...out, count]);
}

async function send(liar, frame) {
  const whole = new Uint8Array([...length(frame.length), ...frame]);
  // The stream takes what fits, and says when there is room again.
  if (!liar.stream.send(whole)) await liar.stream.onDrain({ signal: AbortSignal.timeout(20_000) });
}

const rpc = (more) => RPC.encode({ subscriptions: [], messages: [], ...more });
const control = (more) => rpc({ control: { ihave: [], iwant: [], graft: [], prune: [], idontwant: [], ...more } });

async function message(liar, { say, topic, forge, of, number }) {
  const author = of ? made.get(of).node : liar.node;
  liar.sequence += 1n;
  const seqno = new Uint8Array(8);
  new DataView(seqno.buffer).setBigUint64(0, number === undefined ? BigInt(Date.now()) * 1000n + liar.sequence : BigInt(number));
  const said = { from: author.peerId.toMultihash().bytes, data: bytes(say), seqno, topic };
  const signed = new Uint8Array([...bytes('libp2p-pubsub:'), ...RPC.Message.encode(said)]);
  const signature = forge ? new Uint8Array(64).fill(7) : await liar.node.components.privateKey.sign(signed);
  return { ...said, signature, key: publicKeyToProtobuf(author.peerId.publicKey) };
}

async function obey(order) {
  if (order.make) return make(order);
  if (order.half) return half(order);
  if (order.crowd) return crowd(order);
  const liar = made.get(order.as);
  const times = order.times ?? 1;
  if (order.dial) {
    const connection = await liar.node.dial(multiaddr(order.dial));
    liar.stream = await connection.newStream(MESHSUB);
  } else if (order.subscribe) {
    await send(liar, rpc({ subscriptions: [{ subscribe: true, topic: order.subscribe }] }));
  } else if (order.say !== undefined) {
    for (let time = 0; time < times; time += 1) {
      liar.last = rpc({ messages: [await message(liar, order)] });
      await send(liar, liar.last);
    }
  } else if (order.again) {
    for (let time = 0; time < times; time += 1) await send(liar, made.get(order.again).last);
  } else if (order.topics) {
    for (let first = 0; first < order.topics; first += 500) {
      const names = Array.from({ length: 500 }, (_, one) => `flood/${first + one}`);
      await send(liar, rpc({ subscriptions: names.map((topic) => ({ subscribe: true, topic })) }));
    }
  } else if (order.graft) {
    for (let time = 0; time < times; time += 1) {
      await send(liar, control({ graft: [{ topicID: order.graft }] }));
      await send(liar, control({ prune: [{ topicID: order.graft, peers: [], backoff: 1 }] }));
    }
  } else if (order.frame) await send(liar, new Uint8Array(order.frame));
  return { connections: liar.node.getConnections().length };
}

// Connections of which only the first byte comes.
async function half({ half: count, port }) {
  for (let one = 0; one < count; one += 1) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    await new Promise((done) => socket.once('connect', done));
    socket.write(Uint8Array.of(0x13));
    halves.push(socket);
  }
  return { open: halves.length };
}

// So many peers, each connected and listening.
async function crowd({ crowd: count, dial, subscribe }) {
  let inside = 0;
  for (let one = 0; one < count; one += 1) {
    const as = `crowd ${one}`;
    await make({ make: as });
    try {
      await obey({ as, dial });
      await obey({ as, subscribe });
      inside += 1;
    } catch {
      // There was no room.
    }
  }
  return { inside };
}

let number = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const done = number++;
  await obey(JSON.parse(line)).then(
    (answer) => tell({ done, ...answer }),
    (error) => tell({ done, failed: String(error.stack ?? error) }),
  );
}
process.exit(0);
