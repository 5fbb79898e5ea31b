import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { inspect } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { openServerLink } from './server-link.ts';

const ending: (() => void)[] = [];
afterEach(() => {
  for (const end of ending.splice(0)) end();
});

/** A server that answers as it is told. */
async function serve(talk: (socket: Socket) => void): Promise<{ host: string; port: number }> {
  const server = createServer((socket) => {
    ending.push(() => socket.destroy());
    talk(socket.on('error', () => undefined));
  });
  ending.push(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

const settings = { username: undefined, password: undefined, database: 0, tls: undefined, answerWithinMs: 1_000 };
const { signal } = new AbortController();

test('a connection that was given up while it was made stayed, to log in whenever the server was back', async () => {
  const sockets: Socket[] = [];
  const address = await serve((socket) => sockets.push(socket.resume()));
  const giveUp = new AbortController();
  const opening = openServerLink(address, { ...settings, tls: {} }, giveUp).catch((error) => error);
  await expect.poll(() => sockets.length).toBe(1);
  giveUp.abort(new Error('too late'));
  expect(await opening).toMatchObject({ message: 'too late' });
  await expect.poll(() => sockets[0]?.destroyed).toBe(true);
});

test('after an answer that cannot be understood each call got the answer of another', async () => {
  const address = await serve((socket) =>
    socket.on('data', (data) => {
      for (const command of data.toString().split(/(?=\*\d)/)) {
        const key = /GET\r\n\$1\r\n(.)/.exec(command)?.[1];
        socket.write(key === undefined ? '+OK\r\n' : key === 'a' ? '@bad\r\n' : `$1\r\n${key}\r\n`);
      }
    }),
  );
  const link = await openServerLink(address, settings, { signal });
  const lost = new Promise((resolve) => link.onLost(resolve));
  const failing = expect(link.send(['GET', 'a'])).rejects.toThrow();
  await lost;
  await failing;
  await expect(link.send(['GET', 'b'])).rejects.toThrow();
  await expect(link.subscribe('channel', () => undefined)).rejects.toThrow('was closed');
  await expect(link.unsubscribe('channel')).rejects.toThrow('was closed');
});

test('what a server that knows no AUTH says does not tell the password', async () => {
  const address = await serve((socket) =>
    socket.on('data', () => socket.write("-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n")),
  );
  const refused = await openServerLink(address, { ...settings, password: 'hunter2' }, { signal }).catch(
    (error) => error,
  );
  expect(refused).toBeInstanceOf(Error);
  expect(inspect(refused, { depth: 10 })).not.toContain('hunter2');
});
