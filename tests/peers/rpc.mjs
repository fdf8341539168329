// rpc.mjs URL MESSAGE: the client of the package `rpc-websockets` at a node's `/rpc`: looks, subscribes, sends the message,
// waits until it is told of it, and calls what there is not. Prints all it was answered, as JSON.
import { Client } from 'rpc-websockets';

const [, , url, message] = process.argv;
const client = new Client(url, { reconnect: false });
await new Promise((ready, failed) => {
  client.on('open', ready);
  client.on('error', failed);
});
const status = await client.call('status');
const peers = await client.call('peers', []);
const told = new Promise((heard) => client.on('event', heard));
const { subscription } = await client.call('subscribe', { channels: ['_suggestions'] });
const sent = await client.call('send', { message: JSON.parse(message) });
const event = await told;
const again = await client.call('send', [JSON.parse(message)]).catch((error) => error);
const unknown = await client.call('obey', {}).catch((error) => error);
const unsubscribed = await client.call('unsubscribe', [subscription]);
console.log(JSON.stringify({ status, peers, subscription, sent, event, again, unknown, unsubscribed }));
client.close();
