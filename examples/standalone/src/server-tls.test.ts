import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerOptions } from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { selfSigned } from '@proxycache/test-kit';
import { pino } from 'pino';
import { afterAll, describe, expect, test } from 'vitest';
import { parseConfig } from './load-config.ts';
import { startServer } from './server.ts';

const folder = mkdtempSync(join(tmpdir(), 'proxycache-tls-'));
afterAll(() => rmSync(folder, { recursive: true }));

const cache = { handle: async () => undefined, close: async () => undefined };
const config = parseConfig({ listen: { port: 0, tls: { cert: 'cert.pem', key: 'key.pem' } } }, {});
const parts = { cache, config, folder, logger: pino({ level: 'silent' }) };

/** Whether who trusts this authority, and no other, is content with the certificate that is shown. */
async function isTrusted(url: string, ca: string): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), ca });
  try {
    await once(socket, 'secureConnect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

test('with listen.tls it answers over TLS, and takes over a certificate that changes', async () => {
  const [first, second] = await Promise.all([selfSigned(), selfSigned()]);
  const write = ({ cert, key }: { cert: string; key: string }) => {
    writeFileSync(join(folder, 'cert.pem'), cert);
    writeFileSync(join(folder, 'key.pem'), key);
  };
  write(first.server);
  const server = await startServer(parts);
  try {
    expect(server.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    expect(await isTrusted(server.url, first.ca)).toBe(true);
    expect(await isTrusted(server.url, second.ca)).toBe(false);
    write(second.server);
    await expect.poll(() => isTrusted(server.url, second.ca), { timeout: 10_000 }).toBe(true);
    expect(await isTrusted(server.url, first.ca)).toBe(false);
  } finally {
    await server.stop();
  }
});

test('a certificate that cannot be used is refused before it listens', async () => {
  const broken = parseConfig({ listen: { port: 0, tls: { cert: 'none.pem', key: 'key.pem' } } }, {});
  await expect(startServer({ ...parts, config: broken })).rejects.toThrow(
    `listen.tls.cert: cannot be read: ENOENT: no such file or directory, open '${join(folder, 'none.pem')}'`,
  );
});

describe('a client that does not finish its handshake', () => {
  const started = async (limits: Record<string, unknown>, timeLimits: ServerOptions = {}) => {
    const { ca, server: certificate } = await selfSigned();
    writeFileSync(join(folder, 'cert.pem'), certificate.cert);
    writeFileSync(join(folder, 'key.pem'), certificate.key);
    const patient = { ...config, limits: { ...config.limits, ...limits } };
    const server = await startServer({ ...parts, config: patient, limits: timeLimits });
    const port = Number(new URL(server.url).port);
    const silent = net.connect(port, '127.0.0.1').resume();
    const halfway = net.connect(port, '127.0.0.1').resume();
    // A record of 512 bytes begins, and with it a ClientHello.
    halfway.write(Buffer.from('16030102000100', 'hex'));
    const closed = Promise.all([once(silent, 'close'), once(halfway, 'close')]);
    await Promise.all([once(silent, 'connect'), once(halfway, 'connect')]);
    return { server, ca, closed };
  };

  test('in time is closed', async () => {
    const { server, closed } = await started({}, { handshakeTimeout: 50 });
    try {
      await closed;
    } finally {
      await server.stop();
    }
  });

  test('is cut off when the server stops', async () => {
    const { server, ca, closed } = await started({ shutdownWithin: 50 });
    // Connections are taken in turn: once this one is, the two are.
    expect(await isTrusted(server.url, ca)).toBe(true);
    await server.stop();
    await closed;
  });
});
