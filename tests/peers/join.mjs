// join.mjs PAGE CODE PROFILE [relay]: a person at the node's page in headless Chromium. Lets the browser in with the code,
// joins as `browser` (through relays only, with `relay`), and then does what the lines of its standard input say, one
// answer in JSON to each: {"say":TEXT,"to":CHANNEL?}, {"hear":TEXT}, {"see":NAME}, {"state":WORDS}, {"shot":FILE,"dark":BOOLEAN,"width":…,"height":…}, {"look":true},
// {"tab":true}, {"held":true}, {"offers":"refuse"|"hold"|"pass"}, {"stays":WORDS}, {"leave":true}. Its first line says what the page said once it had joined.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [, , url, code, profile, relay] = process.argv;
const PATIENCE = 25_000;
const context = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  viewport: { width: 390, height: 844 },
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const page = await context.newPage();
page.setDefaultTimeout(PATIENCE);
const wrong = [];
page.on('pageerror', (error) => wrong.push(String(error)));
const tell = (value) => console.log(JSON.stringify(value));

await page.goto(url);
await page.getByLabel('Code').fill(code);
// Until then it is told that it has no session, which browsers note as an error.
page.on('console', (message) => { if (message.type() === 'error') wrong.push(message.text()); });
await page.getByRole('button', { name: 'Let in' }).click();
if (relay) await page.getByLabel('Through relays only').check();
await page.getByLabel('Name').fill('browser');
await page.getByRole('button', { name: 'Join' }).click();
const state = page.locator('#state');
await page.waitForFunction(() => {
  const { textContent, className } = document.getElementById('state');
  return textContent === 'Joined.' || className === 'wrong';
});
await page.waitForFunction(() => document.getElementById('way').textContent || document.getElementById('state').className === 'wrong');
const me = await page.locator('#me').textContent();
tell({ state: await state.textContent(), id: me.split(', ')[1], way: await page.locator('#way').textContent() });

let tab;
let passing;

const orders = {
  /** Another tab, that waits for the key. */
  async tab() {
    tab = await context.newPage();
    await tab.goto(url);
    await tab.evaluate(() => { navigator.locks.request('comity-peer', () => { window.held = true; }); });
    return {};
  },
  async held() {
    return { held: await tab.evaluate(() => window.held === true) };
  },
  /** What becomes of the page's offers; says so when one is held. */
  async offers({ offers }) {
    await passing?.();
    passing = undefined;
    await page.unroute('**/dashflow/rtc');
    if (offers === 'refuse') await page.route('**/dashflow/rtc', (route) => route.abort());
    if (offers !== 'hold') return {};
    return new Promise((held) => {
      page.route('**/dashflow/rtc', (route) => {
        passing = () => route.continue();
        held({});
      });
    });
  },
  async stays({ stays }) {
    await page.waitForTimeout(3000);
    return { stays: (await state.textContent()) === stays };
  },
  async say({ say, to }) {
    await page.getByLabel('To').fill(to ?? '');
    await page.getByLabel('Message', { exact: true }).fill(say);
    await page.getByRole('button', { name: 'Send' }).click();
    const item = page.locator('#messages .own').last();
    await page.waitForFunction((element) => element.querySelector('.head').dataset.said, await item.elementHandle());
    return { head: await item.locator('.head').textContent(), words: await item.locator('.words').textContent() };
  },
  async hear({ hear }) {
    const item = page.locator('#messages li:not(.own)').filter({ hasText: hear }).first();
    await item.waitFor();
    return { head: await item.locator('.head').textContent(), words: await item.locator('.words').textContent() };
  },
  async see({ see }) {
    const item = page.locator('#peers li').filter({ hasText: see }).first();
    await item.waitFor();
    return { more: await item.locator('.more').textContent() };
  },
  async state({ state: wanted }) {
    await page.waitForFunction((text) => document.getElementById('state').textContent.includes(text), wanted, { timeout: 2.5 * PATIENCE });
    return {};
  },
  async shot({ shot, dark, width, height }) {
    await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' });
    await page.setViewportSize({ width, height });
    await page.screenshot({ path: shot });
    return {};
  },
  /** Nothing is wider than a phone, everything has a name, and no key can be read. */
  async look() {
    return page.evaluate(async () => {
      const unnamed = [...document.querySelectorAll('input, textarea, button')].filter((field) => field.checkVisibility()
        && !(field.labels?.length || field.textContent.trim()));
      const keys = await new Promise((done) => {
        const opening = indexedDB.open('comity', 1);
        opening.onsuccess = () => {
          const asked = opening.result.transaction('keys').objectStore('keys').get('own');
          asked.onsuccess = () => done(asked.result);
        };
      });
      return { wide: document.documentElement.scrollWidth > innerWidth, unnamed: unnamed.length,
        extractable: keys.privateKey.extractable, markup: document.querySelectorAll('#messages img, #messages b').length };
    });
  },
  async leave() {
    await page.getByRole('button', { name: 'Leave' }).click();
    await page.waitForFunction(() => document.getElementById('state').textContent === 'Left.');
    return {};
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const [name] = Object.keys(order);
  tell(await orders[name](order).catch((error) => ({ failed: String(error) })));
}
tell({ wrong });
await context.close();
