// mcp_client.mjs sdk|client http URL | stdio PROGRAM ARGUMENTS...: the official TypeScript clients drive the fifteen tools.
// `sdk` is @modelcontextprotocol/sdk, `client` its successor @modelcontextprotocol/client; both check every result
// against the tool's output schema. TOKEN is the bearer token for http; PEER is a peer that may be written to.
import assert from 'node:assert/strict';

const [, , which, how, target, ...words] = process.argv;
const { PEER, TOKEN } = process.env;
const packages = {
  sdk: ['@modelcontextprotocol/sdk/client/index.js', '@modelcontextprotocol/sdk/client/streamableHttp.js', '@modelcontextprotocol/sdk/client/stdio.js'],
  client: ['@modelcontextprotocol/client', '@modelcontextprotocol/client', '@modelcontextprotocol/client/stdio'],
}[which];
const [{ Client }, { StreamableHTTPClientTransport }, { StdioClientTransport }] = await Promise.all(packages.map((name) => import(name)));

const headers = { Authorization: `Bearer ${TOKEN}` };
const transport = how === 'http'
  ? new StreamableHTTPClientTransport(new URL(target), { requestInit: { headers } })
  : new StdioClientTransport({ command: target, args: words });
const client = new Client({ name: 'comity-tests', version: '1.0.0' });
await client.connect(transport);

const { tools } = await client.listTools();
const network = ['status', 'peers', 'send_message', 'broadcast', 'inbox', 'digest', 'subscribe', 'unsubscribe', 'set_attention'];
const mesh = ['mesh_search', 'mesh_index', 'knowledge_share', 'knowledge_request', 'task_submit', 'task_status'];
assert.deepEqual(tools.map((tool) => tool.name).sort(), [...network.map((name) => `network_${name}`), ...mesh].sort());
for (const tool of tools) assert.ok(tool.description && tool.inputSchema && tool.outputSchema, tool.name);

const named = (name) => (mesh.includes(name) ? name : `network_${name}`);
const call = async (name, args = {}) => {
  const result = await client.callTool({ name: named(name), arguments: args });
  assert.ok(!result.isError, JSON.stringify(result));
  assert.ok(result.structuredContent, name);
  return result.structuredContent;
};
const refused = async (name, args) => {
  const result = await client.callTool({ name: named(name), arguments: args }).catch(() => ({ isError: true }));
  assert.ok(result.isError, `${name} ${JSON.stringify(args)}`);
};

assert.equal((await call('status')).name, 'ann');
assert.deepEqual((await call('peers', { online_only: true })).peers.map((peer) => peer.id), [PEER]);
assert.ok((await call('send_message', { peer_id: PEER, channel: '_suggestions', payload: { suggestion: 'from an agent' } })).message_id);
await call('broadcast', { channel: '_status', payload: { working_on: 'tests' }, priority: 'background' });
await refused('broadcast', { channel: '_status', payload: {}, priority: 'urgent' });
const { items } = await call('inbox', { limit: 10 });
assert.ok(items.some((item) => item.payload?.suggestion === 'read me' && item.trust === 'verified'), JSON.stringify(items));
assert.deepEqual((await call('inbox', { ack: items.map((item) => item.arrival) })).items, []);
await call('digest', { clear: false });
await call('digest');
await call('subscribe', { channel: 'custom:agents' });
await call('unsubscribe', { channel: 'custom:agents' });
await call('set_attention', { mode: 'realtime' });
await refused('set_attention', { mode: 'asleep' });
assert.equal((await call('status')).attention_mode, 'realtime');
await call('set_attention', { mode: 'focused' });
const indexed = await call('mesh_index', { url: 'https://example.org/tea', title: 'Tea', text: 'Green tea is brewed warm.' });
assert.equal((await call('mesh_search', { query: 'green tea' })).results[0].doc_id, indexed.doc_id);
await refused('mesh_search', { query: 'tea', limit: 0 });
const shared = await call('knowledge_share', { topic: 'tea', content: 'it wants 70 degrees', confidence: 0.8 });
assert.equal((await call('knowledge_request', { topic: 'tea' })).knowledge[0].id, shared.id);
await refused('knowledge_share', { topic: 'tea', content: 'too sure', confidence: 1.5 });
const submitted = await call('task_submit', { capability: 'nobody/has-it' });
assert.equal((await call('task_status', { id: submitted.id })).state, 'queued');
await client.close();
console.log('drove all fifteen');
