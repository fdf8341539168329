// What comes over a link in binary: compact messages, many to a frame, with MessagePack for payload. See "Links" in
// local-network.md of the protocols. It only reads: this page writes its messages as JSON, which a link carries too.

import { decompress } from './fzstd.js';
import { toBase64url, uuidOfBytes } from './identity.js';

/** Bytes of the fixed part of a header. */
const HEADER = 32;

/** Largest frame, and most that a payload may become when it is decompressed, bytes. */
const FRAME_MAX = 256 * 1024;

/** Levels of a payload, as of any JSON that is read. */
const DEPTH_MAX = 32;

/** Channel names that are remembered of one link. */
const CHANNELS_MAX = 1024;

const SEALED = 1, COMPRESSED = 2, ADDRESSED = 4, IDENTIFIED = 8;
const KINDS = { 1: 'heartbeat', 2: 'status', 3: 'suggestion', 4: 'bug', 5: 'error', 16: 'query', 17: 'response', 255: 'extended' };
const PRIORITIES = ['background', 'normal', 'critical'];
const ZSTD = [0x28, 0xb5, 0x2f, 0xfd];
const NO_ID = '00000000-0000-0000-0000-000000000000';

/** FNV-1a, 32 bits, of a channel's name: how a header names it. */
export function channelHash(name) {
  return new TextEncoder().encode(name).reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
}

/** The names by which the other side has named channels. The name that has a hash first keeps it. */
export class ChannelTable {
  #names = new Map();

  add(names) {
    for (const name of names) {
      const hash = channelHash(name);
      if (this.#names.size < CHANNELS_MAX && !this.#names.has(hash)) this.#names.set(hash, name);
    }
  }

  name(hash) {
    return this.#names.get(hash);
  }
}

/**
 * The messages of a frame, in their order: each as its JSON form, or with `unreadable` where only its id could be
 * read. A frame that is cut short, or too large, throws.
 */
export function decode(frame, channels) {
  if (frame.length === 0 || frame.length > FRAME_MAX) throw new RangeError('not a frame of a link');
  const messages = [];
  for (let at = 0; at < frame.length;) {
    const raw = rawAt(frame, at);
    at = raw.end;
    try {
      messages.push(messageOf(raw, channels));
    } catch {
      messages.push({ id: raw.id, unreadable: true });
    }
  }
  return messages;
}

function rawAt(frame, at) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const need = (end) => {
    if (end > frame.length) throw new RangeError('a message is cut short');
    return end;
  };
  need(at + HEADER);
  const flags = view.getUint16(at + 30, true);
  let place = at + HEADER;
  const uuidIf = (there) => {
    if (!there) return undefined;
    const uuid = uuidOfBytes(frame.subarray(place, (place = need(place + 16))));
    return uuid === NO_ID ? undefined : uuid;
  };
  const to = uuidIf(flags & ADDRESSED);
  const id = uuidIf(flags & IDENTIFIED);
  const replyTo = uuidIf(flags & IDENTIFIED);
  const end = need(place + view.getUint16(at + 28, true));
  return {
    kind: frame[at], priority: frame[at + 1], from: uuidOfBytes(frame.subarray(at + 2, at + 18)),
    ttl: view.getUint16(at + 18, true), hash: view.getUint32(at + 20, true), seconds: view.getUint32(at + 24, true),
    flags, to, id, replyTo, payload: frame.subarray(place, end), end,
  };
}

function messageOf(raw, channels) {
  const { kind, priority, flags } = raw;
  const unknown = flags & ~(SEALED | COMPRESSED | ADDRESSED | IDENTIFIED) || !KINDS[kind];
  if (unknown) throw new TypeError('a later version wrote this');
  const payload = flags & COMPRESSED ? decompressed(raw.payload) : raw.payload;
  if (KINDS[kind] === 'extended') {
    // The whole message as JSON.
    const message = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
    return message.message ?? message;
  }
  const channel = channels.name(raw.hash);
  if (!PRIORITIES[priority]) throw new TypeError('a later version wrote this');
  if (!channel) throw new TypeError('a channel that was not named');
  const message = {
    id: raw.id, from: raw.from, to: raw.to ?? 'broadcast', type: KINDS[kind], channel,
    payload: flags & SEALED ? { sealed: toBase64url(payload) } : payload.length > 0 ? unpacked(payload) : null,
    priority: PRIORITIES[priority], timestamp: new Date(raw.seconds * 1000).toISOString(), ttl: raw.ttl || 60,
  };
  if (raw.replyTo) message.reply_to = raw.replyTo;
  if (!raw.id) delete message.id;
  return message;
}

function decompressed(bytes) {
  const descriptor = bytes[4];
  const single = descriptor & 0x20;
  const sizeCode = descriptor >> 6;
  if (!ZSTD.every((byte, index) => bytes[index] === byte) || !(single || sizeCode)) throw new RangeError('not zstd');
  // The frame says how much it becomes (RFC 8878, 3.1.1.1): what is too much is not even begun.
  const at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = [() => view.getUint8(at), () => view.getUint16(at, true) + 256, () => view.getUint32(at, true),
    () => Number(view.getBigUint64(at, true))][sizeCode]();
  if (size > FRAME_MAX) throw new RangeError('a payload that becomes too large');
  const plain = decompress(bytes);
  if (plain.length !== size) throw new RangeError('a payload of another size');
  return plain;
}

/** MessagePack with string keys and without extensions. */
export function unpacked(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  let at = 0;
  const take = (length) => {
    const begin = at;
    at += length;
    if (at > bytes.length) throw new RangeError('cut short');
    return begin;
  };
  const text = (length) => utf8.decode(bytes.subarray(take(length), at));
  const binary = (length) => Array.from(bytes.subarray(take(length), at));
  const whole = (big) => (Number.isSafeInteger(Number(big)) ? Number(big) : big);
  const list = (length, depth) => {
    // Each item takes a byte at least: a length that lies is found out before anything is made.
    if (length > bytes.length - at) throw new RangeError('cut short');
    return Array.from({ length }, () => value(depth + 1));
  };
  const map = (length, depth) => {
    if (length * 2 > bytes.length - at) throw new RangeError('cut short');
    const members = Object.create(null);
    for (let index = 0; index < length; index += 1) {
      const name = value(depth + 1);
      if (typeof name !== 'string') throw new TypeError('a key that is no text');
      members[name] = value(depth + 1);
    }
    return members;
  };
  const value = (depth) => {
    if (depth > DEPTH_MAX) throw new RangeError('nested too deeply');
    const code = bytes[take(1)];
    if (code < 0x80) return code;
    if (code >= 0xe0) return code - 0x100;
    if (code < 0x90) return map(code & 0x0f, depth);
    if (code < 0xa0) return list(code & 0x0f, depth);
    if (code < 0xc0) return text(code & 0x1f);
    switch (code) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return binary(view.getUint8(take(1)));
      case 0xc5: return binary(view.getUint16(take(2)));
      case 0xc6: return binary(view.getUint32(take(4)));
      case 0xca: return view.getFloat32(take(4));
      case 0xcb: return view.getFloat64(take(8));
      case 0xcc: return view.getUint8(take(1));
      case 0xcd: return view.getUint16(take(2));
      case 0xce: return view.getUint32(take(4));
      case 0xcf: return whole(view.getBigUint64(take(8)));
      case 0xd0: return view.getInt8(take(1));
      case 0xd1: return view.getInt16(take(2));
      case 0xd2: return view.getInt32(take(4));
      case 0xd3: return whole(view.getBigInt64(take(8)));
      case 0xd9: return text(view.getUint8(take(1)));
      case 0xda: return text(view.getUint16(take(2)));
      case 0xdb: return text(view.getUint32(take(4)));
      case 0xdc: return list(view.getUint16(take(2)), depth);
      case 0xdd: return list(view.getUint32(take(4)), depth);
      case 0xde: return map(view.getUint16(take(2)), depth);
      case 0xdf: return map(view.getUint32(take(4)), depth);
      default: throw new TypeError('an extension');
    }
  };
  const result = value(0);
  if (at !== bytes.length) throw new RangeError('more than one value');
  return result;
}
