import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, test, vi } from 'vitest';

const { made } = vi.hoisted(() => ({ made: { classes: 0 } }));
vi.mock('@keyv/redis', async (load) => {
  const { createClient, ...others } = await load<typeof import('@keyv/redis')>();
  const counted: typeof createClient = (...args) => {
    made.classes++;
    return createClient(...args);
  };
  return { ...others, createClient: counted };
});
const { openServerLink } = await import('./server-link.ts');

const settings = { username: undefined, password: undefined, database: 0, tls: undefined, answerWithinMs: 1_000 };

test('each attempt to connect to a server that was away stopped pulls for 25 ms, to make a class of all commands', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  const { signal } = new AbortController();
  for (const host of ['127.0.0.1', '127.0.0.1', '127.0.0.2', '127.0.0.3']) {
    await expect(openServerLink({ host, port }, settings, { signal })).rejects.toThrow('ECONNREFUSED');
  }
  expect(made.classes).toBeLessThanOrEqual(1);
});
