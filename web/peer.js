// A peer in a page: offers a WebRTC connection to the node that serves it, signs what it offers, and speaks a link's
// frames over the data channel. See "WebRTC" in mqtt-discovery.md and "Links" in local-network.md of the protocols.

import { ChannelTable, decode } from './frames.js';
import { PROTOCOL, fromBase64url, isCardOf, sha256, signedCard, toBase64url, verify } from './identity.js';

/** Where offers are posted, and where the servers are asked for. */
const OFFERS = '/dashflow/rtc';
const SERVERS = '/control/ice';

const SDP = 'application/sdp';
const FRAGMENT = 'application/trickle-ice-sdpfrag';
const HEADER = 'comity-signal';
const CONTEXT = 'comity/signal/1';

/** How long connecting may take until both sides have said hello, ms: as long as a node gives it. */
const CONNECT_TIME = 15_000;

/** How long addresses are collected before they are sent on together, ms. */
const TRICKLE_PAUSE = 20;

/** How long leaving may take, ms. */
const FAREWELL = 500;

/** How long a node that is there is never silent, ms: it asks after a second of silence. And how often that is looked at. */
const SILENCE_MAX = 10_000;
const SILENCE_EVERY = 2000;

/** Longest message that is sent, bytes of its JSON; a node takes payloads of 256 KiB. */
const TEXT_MAX = 256 * 1024;

/** Messages whose fate is waited for, at most; of older ones it is not told. */
const WAITING_MAX = 1000;

/** The types of messages on the channels that have one of their own. */
const KINDS = { _status: 'status', _suggestions: 'suggestion', _bugs: 'bug', _errors: 'error' };

/**
 * One connection with a node. Events: `message` (detail: the message), `fate` (detail: the id and fate of a message that
 * was sent), `down` (detail: why).
 */
export class Peer extends EventTarget {
  #identity;
  #node;
  #connection;
  #channel;
  #session = crypto.randomUUID();
  #place;
  #unsent = [];
  #timer;
  #names = new ChannelTable();
  #received = 0;
  #sent = [];
  #greeted;
  #heardAt = Date.now();
  #watching;
  #over = false;

  /** @param node what the node's control door says of it: `node`, its key, and `id` */
  constructor(identity, node) {
    super();
    this.#identity = identity;
    this.#node = node;
  }

  /** Connects; resolves when both sides have said hello. */
  async join(name, subscriptions, { relayOnly = false } = {}) {
    const deadline = new Promise((_, late) => {
      this.#timer = setTimeout(() => late(new Error('the node was not reached in time')), CONNECT_TIME);
    });
    try {
      await Promise.race([this.#connect(name, subscriptions, relayOnly), deadline]);
    } catch (failure) {
      this.#end();
      await this.#withdraw();
      throw failure;
    } finally {
      clearTimeout(this.#timer);
    }
  }

  async #connect(name, subscriptions, relayOnly) {
    const { servers } = await (await answered(fetch(SERVERS))).json();
    if (relayOnly && !servers.some(({ urls }) => urls.startsWith('turn'))) {
      throw new Error('no relay is configured at the node (webrtc.servers)');
    }
    const connection = new RTCPeerConnection({
      iceServers: servers, iceTransportPolicy: relayOnly ? 'relay' : 'all',
    });
    this.#connection = connection;
    this.#channel = connection.createDataChannel('comity');
    this.#channel.binaryType = 'arraybuffer';
    const hello = await this.#hello(name, subscriptions);
    const greeted = new Promise((done, failed) => { this.#greeted = { done, failed }; });
    this.#channel.onopen = () => this.#write(hello);
    // One after the other: some of what a frame asks for takes time.
    let before = Promise.resolve();
    this.#channel.onmessage = ({ data }) => {
      before = before.then(() => this.#take(data)).catch((failure) => this.#down(failure.message));
    };
    this.#channel.onclose = () => this.#down('the connection was closed');
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === 'failed') this.#down('no path to the node works any more');
    };
    connection.onicecandidate = ({ candidate }) => this.#tell(candidate);
    await connection.setLocalDescription(await connection.createOffer());
    await this.#offer(connection.localDescription.sdp);
    await greeted;
    this.#watching = setInterval(() => {
      if (Date.now() - this.#heardAt > SILENCE_MAX) this.#down('the node is silent');
    }, SILENCE_EVERY);
  }

  async #hello(name, subscriptions) {
    const startedAt = Date.now();
    return {
      link: 'hello', protocol: PROTOCOL, boot: crypto.randomUUID(), card: await signedCard(this.#identity, name, startedAt),
      channels: [], subscriptions: subscriptions.map((channel) => ({ channel, quiet: false })),
    };
  }

  // Signals

  async #offer(sdp) {
    const headers = { 'content-type': SDP, [HEADER]: await this.#signed('offer', sdp) };
    const response = await answered(fetch(OFFERS, { method: 'POST', headers, body: sdp }));
    const answer = await response.text();
    await this.#check(response.headers.get(HEADER), answer);
    this.#place = response.headers.get('location');
    await this.#connection.setRemoteDescription({ type: 'answer', sdp: answer });
    await this.#trickle();
  }

  /** The header that binds a description to this page's key. */
  async #signed(kind, sdp) {
    const signal = {
      sdp_sha256: await sha256(sdp), fingerprint: fingerprint(sdp), from: this.#identity.node, to: this.#node.node,
      session: this.#session, kind, ts: Date.now(),
    };
    const sig = await this.#identity.sign(CONTEXT, signal);
    return toBase64url(new TextEncoder().encode(JSON.stringify({ ...signal, sig })));
  }

  /** Only an answer that the node's own key signed counts: else anybody could be at the other end. */
  async #check(header, sdp) {
    const { sig, ...signal } = JSON.parse(new TextDecoder().decode(fromBase64url(header ?? '')) || '{}');
    const ours = signal.from === this.#node.node && signal.to === this.#identity.node
      && signal.session === this.#session && signal.kind === 'answer';
    const same = signal.sdp_sha256 === await sha256(sdp) && signal.fingerprint === fingerprint(sdp);
    if (!ours || !same || !await verify(this.#node.node, CONTEXT, signal, sig)) {
      throw new Error('the answer is not signed by the node');
    }
  }

  #tell(candidate) {
    if (!candidate?.candidate) return;
    this.#unsent.push(candidate.candidate);
    setTimeout(() => this.#trickle(), TRICKLE_PAUSE);
  }

  async #trickle() {
    if (!this.#place || this.#unsent.length === 0 || this.#over) return;
    const { sdp } = this.#connection.localDescription;
    const lines = [`a=ice-ufrag:${attribute(sdp, 'ice-ufrag')}`, `a=ice-pwd:${attribute(sdp, 'ice-pwd')}`,
      'm=application 9 UDP/DTLS/SCTP webrtc-datachannel', 'a=mid:0',
      ...this.#unsent.splice(0).map((candidate) => `a=${candidate}`)];
    const body = lines.map((line) => `${line}\r\n`).join('');
    const headers = { 'content-type': FRAGMENT, [HEADER]: await this.#signed('candidates', body) };
    // A refusal is no end: other addresses may do.
    await fetch(this.#place, { method: 'PATCH', headers, body }).catch(() => {});
  }

  /** Ends what was offered and came to nothing. */
  async #withdraw() {
    if (!this.#place) return;
    const headers = { [HEADER]: await this.#signed('end', '') };
    // The node gives it up by itself, only later.
    await fetch(this.#place, { method: 'DELETE', headers }).catch(() => {});
  }

  // Frames

  async #take(data) {
    if (this.#over) return;
    this.#heardAt = Date.now();
    if (typeof data === 'string') return this.#takeText(JSON.parse(data));
    this.#deliver(decode(new Uint8Array(data), this.#names));
  }

  async #takeText(frame) {
    switch (frame.link) {
      case undefined: return this.#deliver([frame.message ?? frame]);
      case 'hello':
        if (!await isCardOf(this.#node.node, frame.card)) throw new Error('the node showed the card of another');
        this.#names.add(frame.channels);
        return this.#greeted.done();
      case 'channels': return this.#names.add(frame.names);
      case 'ping': return this.#write({ link: 'pong', nonce: frame.nonce, ts: Date.now() });
      case 'receipt': return this.#settle(frame);
      case 'goodbye': return this.#down('the node said goodbye');
      default: return undefined;
    }
  }

  #deliver(messages) {
    const fates = [];
    for (const message of messages) {
      if (message.id) this.#received += 1;
      if (message.unreadable) {
        if (message.id) fates.push([message.id, 'unreadable']);
      } else if (message.type !== 'heartbeat') {
        this.dispatchEvent(new CustomEvent('message', { detail: message }));
        if (message.type === 'query') this.#decline(message);
      }
    }
    if (this.#received > 0) this.#write({ link: 'receipt', received: this.#received, fates });
  }

  /** A page answers no queries; whoever asks is told so at once. */
  #decline(query) {
    const payload = { error: { code: 'no_answerer', detail: 'nobody answers queries here' } };
    this.#send({ ...this.#message('response', '_direct', payload), to: query.from, reply_to: query.id });
  }

  /** What became of messages: all up to `received` have arrived, and those without a fate were delivered. */
  #settle({ received, fates }) {
    const told = new Map(fates);
    for (const sent of this.#sent) {
      const fate = told.get(sent.id) ?? (sent.number <= received && !sent.told ? 'delivered' : undefined);
      if (fate) {
        sent.told = true;
        this.dispatchEvent(new CustomEvent('fate', { detail: { id: sent.id, fate } }));
      }
    }
  }

  // Saying

  /** Sends a text to the node, or to the channel that it names; the message. */
  say(text, channel) {
    const message = channel
      ? this.#message(KINDS[channel] ?? 'extended', channel, text)
      : { ...this.#message('extended', '_direct', text), to: this.#node.id };
    this.#send(message);
    return message;
  }

  #message(type, channel, payload) {
    const timestamp = new Date().toISOString();
    return {
      id: crypto.randomUUID(), from: this.#identity.id, to: 'broadcast', type, channel, payload, priority: 'normal',
      timestamp, ttl: 60,
    };
  }

  #send(message) {
    if (!this.#write(message)) throw new Error('the message is too long, or the node is not connected');
    const number = (this.#sent.at(-1)?.number ?? 0) + 1;
    this.#sent.push({ id: message.id, number, told: false });
    if (this.#sent.length > WAITING_MAX) this.#sent.shift();
  }

  #write(value) {
    const text = JSON.stringify(value);
    if (this.#channel?.readyState !== 'open' || text.length > TEXT_MAX) return false;
    this.#channel.send(text);
    return true;
  }

  // The end

  /** Whether messages go through a relay: the path that is used now. */
  async isRelayed() {
    const stats = [...(await this.#connection.getStats()).values()];
    const transport = stats.find(({ type }) => type === 'transport');
    const pair = stats.find(({ id }) => id === transport?.selectedCandidatePairId);
    const ends = stats.filter(({ id }) => id === pair?.localCandidateId || id === pair?.remoteCandidateId);
    return ends.some(({ candidateType }) => candidateType === 'relay');
  }

  /** Says goodbye without waiting: for a page that is being closed. */
  sayGoodbye() {
    if (!this.#over) this.#write({ link: 'goodbye', reason: 'leaving' });
  }

  /** Says goodbye, and ends the connection. */
  async leave() {
    if (this.#over) return;
    // The node closes the channel when it has heard it.
    const closed = new Promise((done) => { this.#channel.addEventListener('close', done); });
    this.sayGoodbye();
    this.#over = true;
    await Promise.race([closed, new Promise((late) => { setTimeout(late, FAREWELL); })]);
    this.#end();
  }

  #down(reason) {
    if (this.#over) return;
    this.#greeted?.failed(new Error(reason));
    this.#end();
    this.dispatchEvent(new CustomEvent('down', { detail: reason }));
  }

  #end() {
    this.#over = true;
    clearInterval(this.#watching);
    this.#connection?.close();
  }
}

/** The response, or what the problem document says. */
async function answered(request) {
  const response = await request;
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? `the node answered ${response.status}`);
}

function fingerprint(sdp) {
  return attribute(sdp, 'fingerprint');
}

function attribute(sdp, name) {
  return sdp.split(/\r?\n/).find((line) => line.startsWith(`a=${name}:`))?.slice(name.length + 3).trim();
}
