// What the person at the page sees and does. Everything that peers wrote goes onto the page as text, never as markup.

import { openIdentity } from './identity.js';
import { Peer } from './peer.js';

/** What this page listens to. */
const SUBSCRIPTIONS = ['_presence', '_status', '_suggestions', '_bugs', '_errors'];

/** Messages that stay on the page. */
const SHOWN_MAX = 500;

/** Longest text of a peer that is shown, characters. */
const TEXT_MAX = 10_000;

/** How long after a connection broke it is tried again, ms; doubles until the longest. */
const AGAIN_FIRST = 500;
const AGAIN_MAX = 30_000;

/** How long changes among the peers are collected before the page looks at them, ms. */
const PEERS_PAUSE = 200;

/** How the way to the node is looked for once the link is up, ms between looks. */
const WAY_EVERY = 3000;

const $ = (id) => document.getElementById(id);
const parts = ['enter', 'join', 'here', 'talk', 'others'];

let identity;
let node;
let peer;
let peers;
let wayTimer;

start().catch((failure) => say(failure.message, true));

async function start() {
  $('enter').addEventListener('submit', (event) => { event.preventDefault(); busy('enter', enter); });
  $('join').addEventListener('submit', (event) => { event.preventDefault(); busy('join', join); });
  $('say').addEventListener('submit', (event) => { event.preventDefault(); send(); });
  $('leave').addEventListener('click', () => leave());
  addEventListener('pagehide', () => peer?.sayGoodbye());
  $('text').addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $('say').requestSubmit();
    }
  });
  $('name').value = localStorage.getItem('name') ?? 'browser';
  $('relay').checked = localStorage.getItem('relay') === 'yes';
  await look();
}

/** Asks whether this browser has a session, and shows what can be done. */
async function look() {
  const response = await fetch('/control/node');
  if (response.status === 401) {
    show('enter');
    say('This browser is not let in yet.');
    return $('code').focus();
  }
  if (!response.ok) throw new Error(`the node answered ${response.status}`);
  node = await response.json();
  watchPeers();
  show('join', 'others');
  say(`At the door of ${clean(node.name)}.`);
  return undefined;
}

async function enter() {
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ code: $('code').value.trim() });
  const response = await fetch('/session', { method: 'POST', headers, body });
  $('code').value = '';
  if (!response.ok) throw new Error((await response.json()).detail);
  await look();
}

async function join() {
  identity ??= await ownIdentity();
  const name = $('name').value.trim();
  localStorage.setItem('name', name);
  localStorage.setItem('relay', $('relay').checked ? 'yes' : 'no');
  await holdKey();
  try {
    await connect(name, $('relay').checked);
  } catch (failure) {
    holdKey.release();
    throw failure;
  }
}

async function ownIdentity() {
  try {
    return await openIdentity();
  } catch (failure) {
    throw new Error(`this browser cannot keep an Ed25519 key (${failure.message})`);
  }
}

/**
 * One page at a time is the peer of this key: two would take the link from each other. It is held until the person
 * leaves, also while the connection is down.
 */
function holdKey() {
  return new Promise((held, failed) => {
    navigator.locks.request('comity-peer', { ifAvailable: true }, (lock) => {
      if (!lock) return failed(new Error('another tab of this browser has joined already'));
      held();
      return new Promise((release) => { holdKey.release = release; });
    }).catch(failed);
  });
}

async function connect(name, relayOnly) {
  say('Connecting…');
  const joining = new Peer(identity, node);
  joining.addEventListener('message', ({ detail }) => showMessage(detail));
  joining.addEventListener('fate', ({ detail }) => showFate(detail));
  const before = peer;
  await joining.join(name, SUBSCRIPTIONS, { relayOnly });
  // The person left meanwhile.
  if (peer !== before) return joining.leave();
  peer = joining;
  peer.addEventListener('down', ({ detail }) => reconnect(detail, name, relayOnly));
  $('me').textContent = `${name}, ${identity.id}`;
  $('node').textContent = `${clean(node.name)}, ${node.id}`;
  show('here', 'talk', 'others');
  say('Joined.');
  await showWay();
  clearInterval(wayTimer);
  wayTimer = setInterval(showWay, WAY_EVERY);
}

async function showWay() {
  const relayed = await peer?.isRelayed().catch(() => undefined);
  if (relayed !== undefined) $('way').textContent = relayed ? 'WebRTC, through a relay' : 'WebRTC, directly';
}

async function reconnect(reason, name, relayOnly) {
  const broken = peer;
  clearInterval(wayTimer);
  for (let pause = AGAIN_FIRST; peer === broken; pause = Math.min(pause * 2, AGAIN_MAX)) {
    say(`${reason}; trying again.`, true);
    await new Promise((over) => { setTimeout(over, pause); });
    if (peer !== broken) return;
    try {
      const looked = await fetch('/control/node');
      if (peer !== broken) return;
      if (looked.status === 401) return void (await left('The session is over.'));
      node = await looked.json();
      await connect(name, relayOnly);
    } catch (failure) {
      reason = failure.message;
    }
  }
}

async function leave() {
  $('leave').disabled = true;
  const leaving = peer;
  // Whoever tries to connect again stops at that.
  peer = undefined;
  await leaving?.leave();
  $('leave').disabled = false;
  await left('Left.');
}

async function left(words) {
  peer = undefined;
  clearInterval(wayTimer);
  holdKey.release?.();
  await look();
  say(words);
}

function send() {
  const [text, channel] = [$('text').value, $('to').value.trim()];
  if (!text.trim()) return;
  try {
    const message = peer.say(text, channel);
    showMessage(message);
    $('text').value = '';
    say('Joined.');
  } catch (failure) {
    say(failure.message, true);
  }
}

// What is shown

function showMessage({ id, from, to, type, channel, payload, sealed }) {
  const own = from === identity.id;
  const item = document.createElement('li');
  if (own) item.classList.add('own');
  if (id) item.dataset.id = id;
  const head = [new Date().toLocaleTimeString(), own ? 'you' : nameOf(from), own && to !== 'broadcast' ? `to ${nameOf(to)}` : clean(channel), type];
  item.append(element('span', 'head', head.join(' · ')), element('span', 'words', sealed ? '(sealed)' : words(payload)));
  const list = $('messages');
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(item);
  while (list.childElementCount > SHOWN_MAX) list.firstElementChild.remove();
  if (atEnd || own) list.scrollTop = list.scrollHeight;
}

function showFate({ id, fate }) {
  const head = [...$('messages').children].find((item) => item.dataset.id === id)?.querySelector('.head');
  if (head) {
    head.dataset.said ??= head.textContent;
    head.textContent = `${head.dataset.said} · ${clean(fate).replaceAll('_', ' ')}`;
  }
}

function words(payload) {
  if (typeof payload === 'string') return clean(payload);
  return clean(JSON.stringify(payload, (_, value) => (typeof value === 'bigint' ? String(value) : value)) ?? '');
}

/** A peer's text without control and bidirectional characters, and not too long. */
function clean(text) {
  return String(text).slice(0, TEXT_MAX).replace(/[^\P{C}\n\t]/gu, '');
}

function nameOf(id) {
  if (id === node.id) return clean(node.name);
  return clean(known.get(id)?.name || id);
}

const known = new Map();
let looking;

/** The peers of the node, as they come and go. What changed is looked for a little later, at once for many changes. */
function watchPeers() {
  peers?.close();
  peers = new EventSource('/control/peers/changes');
  peers.onmessage = () => { looking ??= setTimeout(lookForPeers, PEERS_PAUSE); };
}

async function lookForPeers() {
  looking = undefined;
  const response = await fetch('/control/peers').catch(() => undefined);
  if (!response?.ok) return;
  known.clear();
  (await response.json()).peers.forEach((peer) => known.set(peer.id, peer));
  showPeers();
}

function showPeers() {
  const items = [...known.values()].map(({ id, name, trust, presence, link }) => {
    const item = document.createElement('li');
    const own = id === identity?.id ? 'this page' : '';
    item.append(element('span', 'name', clean(name || id)));
    item.append(element('span', 'more', [presence, trust, link, own].filter(Boolean).join(' · ')));
    return item;
  });
  $('peers').replaceChildren(...items);
  $('nobody').hidden = items.length > 0;
}

function element(tag, kind, text) {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  return made;
}

function show(...wanted) {
  parts.forEach((part) => { $(part).hidden = !wanted.includes(part); });
}

function say(words, wrong = false) {
  $('state').textContent = words;
  $('state').classList.toggle('wrong', wrong);
}

/** Runs what a form asks for; it cannot be sent again meanwhile. */
async function busy(form, work) {
  const button = $(form).querySelector('button');
  button.disabled = true;
  try {
    await work();
  } catch (failure) {
    say(failure.message, true);
  } finally {
    button.disabled = false;
  }
}
