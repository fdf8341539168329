// proxy.mjs URL: passes everything on to URL with TOKEN as bearer token, for clients that cannot send one.
// It keeps what the client said of itself (Origin, and a Host other than its own), so that the door judges that.
import http from 'node:http';

const target = new URL(process.argv[2]);
const server = http.createServer((request, response) => {
  const own = `${server.address().address}:${server.address().port}`;
  const local = [own, own.replace('127.0.0.1', 'localhost')].includes(request.headers.host);
  const headers = { ...request.headers, authorization: `Bearer ${process.env.TOKEN}` };
  if (local) headers.host = target.host;
  if (headers.origin === `http://${request.headers.host}` && local) headers.origin = target.origin;
  const passed = http.request({ host: target.hostname, port: target.port, method: request.method, path: request.url, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  passed.on('error', (error) => response.destroy(error));
  response.on('close', () => passed.destroy());
  request.pipe(passed);
});
server.listen(0, '127.0.0.1', () => console.log(`ready http://127.0.0.1:${server.address().port}`));
process.stdin.on('end', () => process.exit(0)).resume();
