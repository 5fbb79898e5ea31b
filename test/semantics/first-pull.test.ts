import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

// A process of its own: what one has compiled it never compiles again.
const program = `
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { Socket } from 'node:net';
let compiled = 0;
WebAssembly.Module = class extends WebAssembly.Module {
  constructor(bytes) {
    super(bytes);
    compiled++;
  }
};
let connected = 0;
const { connect } = Socket.prototype;
Socket.prototype.connect = function (...to) {
  connected++;
  return connect.apply(this, to);
};
setTimeout(() => process.exit(1), 20_000).unref();
const { createProxyCache, memoryStorage } = await import('@proxycache/core');
const blob = Buffer.alloc(300_000, 1);
const digest = 'sha256:' + createHash('sha256').update(blob).digest('hex');
const server = createServer((_, res) => res.end(blob));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const events = [];
const cache = createProxyCache({
  upstreams: [{ key: 'up', url: 'http://127.0.0.1:' + server.address().port }],
  storage: memoryStorage(),
  observer: ({ type }) => events.push(type),
});
const atOnce = compiled;
while (compiled === 0) await new Promise((resolve) => setImmediate(resolve));
const before = { compiled: compiled - atOnce, connected, events: [...events] };
const answer = await cache.fetch(new Request('http://cache/v2/up/a/blobs/' + digest, { method: 'HEAD' }));
console.log(JSON.stringify({ atOnce, before, status: answer.status, after: compiled - before.compiled, connected }));
process.exit();
`;

test('undici compiled its parser while the first client waited, not when the cache was made', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
    cwd: new URL('..', import.meta.url).pathname,
  });
  const before = { compiled: 1, connected: 0, events: [] };
  expect(JSON.parse(stdout)).toEqual({ atOnce: 0, before, status: 200, after: 0, connected: 1 });
});
