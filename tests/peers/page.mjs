// page.mjs NETWORK METRICS CONTROL CODE PROFILE: a page of another origin in headless Chromium tries every door, in every
// way that a page has; then once more in a browser that has a session at the node, opened with the code on the node's own
// origin. Prints what that origin was answered, and what the page could read and which connections it could open, as JSON.
import http from 'node:http';
import { chromium } from 'playwright-core';

const [, , network, metrics, control, code, profile] = process.argv;
const html = '<!doctype html><title>another origin</title><body>';
const server = http.createServer((_, response) => response.setHeader('content-type', 'text/html').end(html));
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));

const context = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const page = await context.newPage();
// Another origin in two ways: another port, and another host and port.
const tried = [];
const attacks = async () => {
  for (const host of ['127.0.0.1', 'localhost']) {
    await page.goto(`http://${host}:${server.address().port}/`);
    tried.push(...(await page.evaluate(attack, { network, metrics, control })));
  }
};
await attacks();
await page.goto(`${control}/`);
const own = await page.evaluate(async (code) => {
  const headers = { 'content-type': 'application/json' };
  const session = await fetch('/session', { method: 'POST', headers, body: JSON.stringify({ code }) });
  const node = await fetch('/control/node');
  return { session: session.status, node: node.status, name: (await node.json()).name };
}, code);
await attacks();
console.log(JSON.stringify({ own, tried }));
await context.close();
server.close();

async function attack({ network, metrics, control }) {
  const seconds = (time) => new Promise((_, give_up) => setTimeout(() => give_up(new Error('no answer')), time * 1000));
  const tried = [];
  const attempt = async (what, work) => {
    const found = { read: false, open: false, ...(await Promise.race([work(), seconds(5)]).catch(() => ({}))) };
    tried.push({ what, ...found });
  };
  const now = new Date().toISOString();
  const message = (number) => JSON.stringify({
    id: `0d0d0d0d-0000-4000-8000-${String(Date.now() % 1e6).padStart(6, '0')}${String(number).padStart(6, '0')}`,
    from: '11111111-2222-4333-8444-555555555555', to: 'broadcast', type: 'suggestion', channel: '_suggestions',
    payload: { suggestion: 'obey' }, priority: 'critical', timestamp: now,
  });
  const read = async (response) => ({ read: response.type !== 'opaque' && (await response.text()).length >= 0 });
  const gets = [`${network}/dashflow/status`, `${network}/dashflow/peers`, `${network}/openapi.json`, `${metrics}/metrics`,
    `${metrics}/health`, `${control}/control/node`, `${control}/control/inbox`, `${control}/mcp`];
  for (const url of gets) {
    await attempt(`fetch ${url}`, async () => read(await fetch(url, { credentials: 'include' })));
  }
  const posts = [[`${network}/dashflow/message`, message(1)], [`${control}/control/attention`, '{"mode":"minimal"}'],
    [`${control}/control/subscribe`, '{"channel":"custom:evil"}'], [`${control}/session`, '{"code":"0"}'],
    [`${control}/mcp`, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}']];
  for (const [url, body] of posts) {
    for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
      for (const mode of ['cors', 'no-cors']) {
        const init = { method: 'POST', mode, body, credentials: 'include', headers: { 'content-type': type } };
        await attempt(`${mode} POST ${type} ${url}`, async () => read(await fetch(url, init)));
      }
    }
    await attempt(`beacon ${url}`, async () => {
      navigator.sendBeacon(url, new Blob([body], { type: 'text/plain' }));
      return {};
    });
    await attempt(`form ${url}`, async () => {
      const frame = Object.assign(document.createElement('iframe'), { name: `f${tried.length}` });
      const form = Object.assign(document.createElement('form'), { action: url, method: 'POST', enctype: 'text/plain', target: frame.name });
      form.append(Object.assign(document.createElement('input'), { name: body.slice(0, -1) + ',"x":"', value: '"}' }));
      document.body.append(frame, form);
      const loaded = new Promise((done) => { frame.onload = done; });
      form.submit();
      await loaded;
      try { return { read: (frame.contentDocument?.body?.textContent ?? '').length > 0 }; } catch { return {}; }
    });
  }
  const sockets = [`${network}/dashflow/events`, `${network}/dashflow/link`, `${control}/control/messages`, `${control}/mcp`];
  for (const url of sockets) {
    await attempt(`WebSocket ${url}`, () => new Promise((done) => {
      const socket = new WebSocket(url.replace('http', 'ws'));
      socket.onopen = () => { socket.send(message(2)); done({ open: true }); };
      socket.onerror = () => done({});
    }));
    await attempt(`EventSource ${url}`, () => new Promise((done) => {
      const source = new EventSource(url, { withCredentials: true });
      source.onopen = () => done({ open: true });
      source.onerror = () => { source.close(); done({}); };
    }));
  }
  const embedded = [`${control}/control/messages?target=custom:evil`, `${control}/control/queries`];
  for (const url of embedded) {
    await attempt(`image ${url}`, () => new Promise((done) => {
      const image = Object.assign(new Image(), { src: url });
      image.onload = image.onerror = () => done({});
    }));
  }
  for (const url of gets) {
    await attempt(`script ${url}`, () => new Promise((done) => {
      const script = Object.assign(document.createElement('script'), { src: url });
      // It loads where the answer has the type of a script, and would run.
      script.onload = () => done({ read: true });
      script.onerror = () => done({});
      document.body.append(script);
    }));
  }
  return tried;
}
