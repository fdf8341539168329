// gateway_client.mjs sdk|client http URL | stdio PROGRAM ARGUMENTS...: an official TypeScript client that does what it
// reads on standard input, a JSON object a line: {"list": true}, {"call": NAME, "arguments": {}}, {"cancel": true}. It
// writes a JSON object a line: {"tools"} (but for the node's own), {"progress"}, {"result"}, {"failed"}, and {"changed"} when it is told that the
// list is another one. TOKEN is the bearer token for http.
import { createInterface } from 'node:readline';

const [, , which, how, target, ...words] = process.argv;
const packages = {
  sdk: ['@modelcontextprotocol/sdk/client/index.js', '@modelcontextprotocol/sdk/client/streamableHttp.js', '@modelcontextprotocol/sdk/client/stdio.js'],
  client: ['@modelcontextprotocol/client', '@modelcontextprotocol/client', '@modelcontextprotocol/client/stdio'],
}[which];
const [{ Client }, { StreamableHTTPClientTransport }, { StdioClientTransport }] = await Promise.all(packages.map((name) => import(name)));

const say = (value) => console.log(JSON.stringify(value));
const headers = { Authorization: `Bearer ${process.env.TOKEN}` };
const transport = how === 'http'
  ? new StreamableHTTPClientTransport(new URL(target), { requestInit: { headers } })
  : new StdioClientTransport({ command: target, args: words });
const client = new Client({ name: `ts-${which}`, version: '1.0.0' });
client.fallbackNotificationHandler = async ({ method }) => {
  if (method === 'notifications/tools/list_changed') say({ changed: true });
};
await client.connect(transport);

let running;
async function call(name, args) {
  running = new AbortController();
  const options = { signal: running.signal, onprogress: (progress) => say({ progress }) };
  const wanted = { name, arguments: args };
  try {
    say({ result: which === 'sdk' ? await client.callTool(wanted, undefined, options) : await client.callTool(wanted, options) });
  } catch (error) {
    say({ failed: String(error.message ?? error) });
  }
}

say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const wanted = JSON.parse(line);
  if (wanted.list) say({ tools: (await client.listTools()).tools.filter(({ name }) => name.includes('__')) });
  else if (wanted.cancel) running.abort('not wanted any more');
  else call(wanted.call, wanted.arguments ?? {});
}
await client.close();
