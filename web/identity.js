// Who this page is: an Ed25519 key that never leaves the browser, what is signed with it, and what is derived from it.
// See identity.md of the protocols: "One key", "What is signed", "Card".

/** The version of the protocols that this page speaks. */
export const PROTOCOL = '1.0.0';

/** The namespace of peer UUIDs. */
const NAMESPACE = bytesOfUuid('6f3c9a52-6c1d-5b7e-9d0a-8f5e2b1c4d70');

/** How long a card is valid, ms: the longest there may be. */
const CARD_LIFETIME = 24 * 3600 * 1000;

const KEY_PREFIX = 'ed25519:';
const DATABASE = 'comity';
const STORE = 'keys';

/** This page's identity; it is made on the first visit and kept by the browser. */
export async function openIdentity() {
  const database = await opened();
  try {
    let keys = await settled(database.transaction(STORE).objectStore(STORE).get('own'));
    if (!keys) {
      keys = await newKeys();
      await settled(database.transaction(STORE, 'readwrite').objectStore(STORE).put(keys, 'own'));
    }
    return await identityOf(keys);
  } finally {
    database.close();
  }
}

/** A new key pair; the private half cannot be read by anybody, this page included. */
export async function newKeys() {
  return crypto.subtle.generateKey({ name: 'Ed25519' }, false, ['sign', 'verify']);
}

/** What this key pair is called, and what it signs. */
export async function identityOf(keys) {
  const raw = new Uint8Array(await crypto.subtle.exportKey('raw', keys.publicKey));
  const node = KEY_PREFIX + toBase64url(raw);
  return { node, id: await peerId(raw), sign: (context, value) => sign(keys.privateKey, context, value) };
}

/** The peer UUID of a public key: version 5, in the namespace of Comity. */
export async function peerId(raw) {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-1', joined(NAMESPACE, raw)));
  hash[6] = (hash[6] & 0x0f) | 0x50;
  hash[8] = (hash[8] & 0x3f) | 0x80;
  return uuidOfBytes(hash);
}

/** A signature over exactly these fields, in base64url. */
async function sign(key, context, value) {
  return toBase64url(new Uint8Array(await crypto.subtle.sign('Ed25519', key, covered(context, value))));
}

/** Whether the node of this id signed exactly these fields. */
export async function verify(node, context, value, signature) {
  if (!node?.startsWith(KEY_PREFIX) || typeof signature !== 'string') return false;
  try {
    const raw = fromBase64url(node.slice(KEY_PREFIX.length));
    const key = await crypto.subtle.importKey('raw', raw, { name: 'Ed25519' }, false, ['verify']);
    return await crypto.subtle.verify('Ed25519', key, fromBase64url(signature), covered(context, value));
  } catch {
    return false;
  }
}

function covered(context, value) {
  return new TextEncoder().encode(`${context}\0${canonical(value)}`);
}

/** JSON as RFC 8785 writes it: sorted by UTF-16 code units, numbers as JavaScript writes them. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.keys(value).sort().filter((name) => value[name] !== undefined);
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`;
}

/** What this page says of itself, signed. It can be reached by nobody, and offers no protocol. */
export async function signedCard(identity, name, startedAt, now = Date.now()) {
  const card = {
    node: identity.node,
    name,
    service: 'comity-page',
    version: PROTOCOL,
    protocol: PROTOCOL,
    capabilities: [],
    roles: [],
    expertise: [],
    reports_to: [],
    protocols: [],
    endpoints: [],
    started_at: new Date(startedAt).toISOString(),
    issued_at: new Date(now).toISOString(),
    expires_at: new Date(now + CARD_LIFETIME).toISOString(),
  };
  return { ...card, sig: await identity.sign('comity/card/1', card) };
}

/** Whether a card is the one of this node, valid, and of a version that can be spoken with. */
export async function isCardOf(node, card, now = Date.now()) {
  const { sig, ...unsigned } = card ?? {};
  const compatible = String(unsigned.protocol).split('.')[0] === PROTOCOL.split('.')[0];
  const valid = unsigned.node === node && Date.parse(unsigned.expires_at) > now;
  return compatible && valid && verify(node, 'comity/card/1', unsigned, sig);
}

export async function sha256(text) {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function toBase64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

export function fromBase64url(text) {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
}

/** Bytes as a UUID is written. */
export function uuidOfBytes(bytes) {
  const hex = Array.from(bytes.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function bytesOfUuid(text) {
  return Uint8Array.from(text.replaceAll('-', '').match(/../g), (byte) => Number.parseInt(byte, 16));
}

function joined(one, other) {
  const all = new Uint8Array(one.length + other.length);
  all.set(one);
  all.set(other, one.length);
  return all;
}

function opened() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return settled(request);
}

function settled(request) {
  return new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}
