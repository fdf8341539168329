// frames.mjs WEB VECTORS: the page's own reading and signing, against the vectors that every implementation reproduces.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const [, , web, folder] = process.argv;
const { ChannelTable, channelHash, decode, unpacked } = await import(`${web}/frames.js`);
const { canonical, fromBase64url, identityOf, newKeys, peerId, signedCard, isCardOf, verify } = await import(`${web}/identity.js`);
const vectors = (name) => JSON.parse(readFileSync(`${folder}/${name}.json`, 'utf8'));
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));

const compact = vectors('compact');
const channels = new ChannelTable();
channels.add(compact.channels);
let read = 0;
for (const { name, frame, message } of compact.frames) {
  const [found, ...more] = decode(bytes(frame), channels);
  assert.equal(more.length, 0, name);
  assert.equal(canonical(found), canonical(message), name);
  read += 1;
}
// Many to a frame, and every place where one may be cut short.
const all = bytes(compact.frames.map(({ frame }) => frame).join(''));
assert.equal(decode(all, channels).length, compact.frames.length);
const one = bytes(compact.frames[0].frame);
for (let length = 0; length < one.length; length += 1) assert.throws(() => decode(one.subarray(0, length), channels));
// What cannot be read is said by its id, and does not take its neighbours along.
const unknown = one.slice();
unknown[0] = 0x42;
const [lost, kept] = decode(Uint8Array.from([...unknown, ...one]), channels);
assert.deepEqual([lost.unreadable, lost.id, kept.type], [true, compact.frames[0].message.id, 'status']);
// A payload that would become a gigabyte is not begun; nor is a list longer than its text.
const bomb = one.slice(0, 64 + 13);
new DataView(bomb.buffer).setUint16(28, 13, true);
new DataView(bomb.buffer).setUint16(30, 8 | 2, true);
bomb.set([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40, 1, 0, 0, 0], 64);
assert.equal(decode(bomb, channels)[0].unreadable, true);
for (const hex of ['dd7fffffff', 'df7fffffff', 'db7fffffff', 'c1', '8101', 'd40100', '', '0000', '91'.repeat(64) + '00']) {
  assert.throws(() => unpacked(bytes(hex)), hex);
}
// Bytes at random never hang it, and fail as errors.
let state = 7;
const random = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 24;
for (let round = 0; round < 20_000; round += 1) {
  const frame = one.slice();
  for (let change = 0; change < 4; change += 1) frame[random() % frame.length] = random();
  try { decode(frame, channels); } catch (error) { assert.ok(error instanceof RangeError, String(error)); }
}
assert.equal(channelHash(''), 0x811c9dc5);

const { keys } = vectors('identity');
for (const { node, peer } of keys) assert.equal(await peerId(fromBase64url(node.slice('ed25519:'.length))), peer);
for (const { bits, text } of vectors('canonical').numbers) {
  assert.equal(canonical(Buffer.from(bits, 'hex').readDoubleBE()), text);
}
const { value, canonical: text, signatures } = vectors('signature');
assert.equal(canonical(value), text);
for (const { context, sig } of signatures) {
  assert.ok(await verify(keys[0].node, context, value, sig), context);
  assert.ok(!await verify(keys[1].node, context, value, sig), context);
  assert.ok(!await verify(keys[0].node, `${context}1`, value, sig), context);
}
const own = await identityOf(await newKeys());
const card = await signedCard(own, 'page', Date.now());
assert.ok(await isCardOf(own.node, card));
assert.ok(!await isCardOf(own.node, { ...card, name: 'another' }));
assert.ok(!await isCardOf(own.node, card, Date.now() + 25 * 3600 * 1000));
assert.ok(!await verify('ed25519:AAAA', 'comity/card/1', card, card.sig));
console.log(JSON.stringify({ frames: read, signatures: signatures.length }));
