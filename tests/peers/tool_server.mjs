// tool_server.mjs: an MCP server of the official TypeScript SDK, on standard input and output, or over streamable HTTP
// at a port that it says ("ready PORT"), where TOKEN is wanted. Its tools: `echo`, `count` (progress), `grow` (a tool more).
import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { z } from 'zod';

function made() {
  const server = new McpServer({ name: 'tools', version: '1' });
  const text = (said) => ({ content: [{ type: 'text', text: said }] });
  server.registerTool('echo', { description: 'Says it again', inputSchema: { said: z.string() } },
    async ({ said }) => text(said));
  server.registerTool('count', { description: 'Counts', inputSchema: { to: z.number() } }, async ({ to }, extra) => {
    const progressToken = extra._meta?.progressToken;
    for (let progress = 1; progress <= to; progress += 1) {
      const params = { progressToken, progress, total: to, message: `at ${progress}` };
      await extra.sendNotification({ method: 'notifications/progress', params });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return text(`counted to ${to}`);
  });
  server.registerTool('grow', { description: 'Has a tool more', inputSchema: {} }, async () => {
    server.registerTool('grown', { description: 'New', inputSchema: {} }, async () => text('grown'));
    return text('there is one more');
  });
  return server;
}

if (process.argv[2] !== 'http') {
  await made().connect(new StdioServerTransport());
} else {
  const sessions = new Map();
  const door = createServer(async (request, response) => {
    if (request.headers.authorization !== `Bearer ${process.env.TOKEN}`) {
      response.writeHead(401).end();
      return;
    }
    let transport = sessions.get(request.headers['mcp-session-id']);
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => sessions.set(id, transport),
      });
      await made().connect(transport);
    }
    await transport.handleRequest(request, response);
  });
  door.listen(0, '127.0.0.1', () => console.log(`ready ${door.address().port}`));
}
