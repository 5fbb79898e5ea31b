import { type AccessRequest, createProxyCache, memoryStorage } from '@proxycache/core';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { parseConfig } from './load-config.ts';
import { logEvents } from './log.ts';
import { openAccess } from './open-access.ts';
import { noteUser } from './request-log.ts';
import { startServer } from './server.ts';

const access = {
  anonymous: true,
  basic: { users: [{ name: 'ann', password: 'wonderland' }] },
  rules: [{ identities: ['ann'], allow: true }],
};

test('a server with users logs for each request who asked, what was decided, and no password', async () => {
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const loaded = { config: parseConfig({ listen: { port: 0 }, access }, {}), folder: '.' };
  const hooks = await openAccess(loaded, logger);
  const cache = createProxyCache({
    upstreams: [{ key: 'up', url: 'http://127.0.0.1:9' }],
    storage: memoryStorage(),
    access: noteUser(hooks!),
    observer: logEvents(logger),
  });
  const server = await startServer({ cache, ...loaded, logger });
  onTestFinished(() => server.stop());
  const statusOf = async (login?: string) => {
    const headers: Record<string, string> =
      login === undefined ? {} : { authorization: `Basic ${Buffer.from(login).toString('base64')}` };
    return (await fetch(`${server.url}/v2/${login === 'ann:wonderland' ? '' : 'up/a/manifests/1'}`, { headers }))
      .status;
  };
  expect([await statusOf('ann:wonderland'), await statusOf('ann:guessed'), await statusOf()]).toEqual([200, 401, 401]);
  const of = (msg: string) => lines.filter((line) => line['msg'] === msg);
  await expect.poll(() => of('request')).toHaveLength(3);
  const [ann, guessed, nobody] = of('request');
  expect(ann).toMatchObject({ client: '127.0.0.1', user: 'ann', path: '/v2/', status: 200 });
  for (const line of [guessed, nobody]) expect(line).not.toHaveProperty('user');
  expect(of('pull')).toMatchObject([
    { level: 30, identity: 'ann', kind: 'ping', decision: 'allow' },
    { decision: 'unauthenticated', reason: 'wrong user name or password' },
    {
      decision: 'unauthenticated',
      reason: 'whoever has not logged in may not pull a of up',
      upstream: 'up',
      repository: 'a',
    },
  ]);
  expect(JSON.stringify(lines)).not.toMatch(/wonderland|guessed|Basic /);
});

test('hooks that ask nobody who he is stay as they are', () => {
  const authorize = () => true;
  expect(noteUser({ authorize })).toEqual({ authorize });
  const given = noteUser({ authenticate: () => undefined }).authenticate?.({ context: {} } as AccessRequest);
  return expect(given).resolves.toBeUndefined();
});
