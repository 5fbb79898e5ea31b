import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

// The timer keeps nothing alive: it fires only where something else does.
const program = `
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { createProxyCache, memoryStorage } from '@proxycache/core';
setTimeout(() => process.exit(1), 5_000).unref();
const blob = Buffer.alloc(300_000, 1);
const digest = 'sha256:' + createHash('sha256').update(blob).digest('hex');
const server = createServer((_, res) => res.end(blob)).on('connection', (socket) => socket.unref());
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = 'http://127.0.0.1:' + server.address().port;
const cache = createProxyCache({ upstreams: [{ key: 'up', url }], storage: memoryStorage() });
const answer = await cache.fetch(new Request('http://cache/v2/up/a/blobs/' + digest));
console.log(answer.status, (await answer.arrayBuffer()).byteLength);
server.unref();
`;

test('an idle connection to an upstream kept the process of a host alive that had nothing more to do', async () => {
  const ran = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
    cwd: new URL('..', import.meta.url).pathname,
  });
  expect((await ran).stdout).toBe('200 300000\n');
});

// Nothing but the pull itself keeps it alive, and most of the time that waits for its turn.
const slow = `
import { createServer } from 'node:http';
import { createProxyCache, memoryStorage } from '@proxycache/core';
const server = createServer((_, res) => res.end(Buffer.alloc(300_000, 1))).on('connection', (socket) => socket.unref());
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = 'http://127.0.0.1:' + server.address().port;
server.unref();
const digest = 'sha256:' + process.argv.at(-1);
const upstreams = [{ key: 'up', url, limits: { bytesPerSecond: 200_000 } }];
const cache = createProxyCache({ upstreams, storage: memoryStorage() });
const answer = await cache.fetch(new Request('http://cache/v2/up/a/blobs/' + digest));
console.log(answer.status, (await answer.arrayBuffer()).byteLength);
`;

test('a blob that waits for its turn (limits.bytesPerSecond) keeps the process until it is here', async () => {
  const digest = createHash('sha256').update(Buffer.alloc(300_000, 1)).digest('hex');
  const ran = promisify(execFile)(process.execPath, ['--input-type=module', '-e', slow, digest], {
    cwd: new URL('..', import.meta.url).pathname,
  });
  expect((await ran).stdout).toBe('200 300000\n');
});
