import { jsonAnswer, ociError } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import {
  bearer,
  credentials,
  expectNoLeak,
  password,
  provided,
  signature,
  startHost,
  startRegistry,
  username,
  withTokens,
} from './expect-no-leak.ts';
import { secretWatch } from './secret-watch.ts';

test('the watch of these tests finds a secret wherever it is', () => {
  const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  for (const hidden of [
    new Error('x', { cause: new Error(`y ${password}`) }),
    { body: Buffer.from(password) },
    new Map([[`a ${password}`, 1]]),
    { deep: [{ [Symbol('headers')]: { authorization: basic } }] },
    Object.defineProperty({}, 'hidden', { value: encodeURIComponent(password), enumerable: false }),
  ]) {
    const watch = secretWatch();
    watch.saw('here', hidden);
    expect(watch.leaks(credentials)).not.toEqual([]);
  }
});

describe('23: a credential that is taken reaches nobody else', () => {
  test('basic', async () => {
    const { cache } = await expectNoLeak(await startRegistry());
    expect(cache.seen('request').some(({ status }) => status === 200)).toBe(true);
  });

  test('by the token service of the registry, and of a host that is paired with it', async () => {
    await expectNoLeak(await startRegistry({ auth: withTokens() }));
    const at = await startHost();
    const paired = await startRegistry({ auth: withTokens({ at }) });
    await expectNoLeak({ ...paired, options: { tokenHosts: [at.host] } });
    expect(at.requests.some(({ headers }) => headers.authorization)).toBe(true);
  });

  test('a token that is sent as it is', async () => {
    const { upstream, image } = await startRegistry({ auth: 'none' });
    await expectNoLeak({ upstream, image, auth: { token: bearer } });
    expect(upstream.requests.every(({ headers }) => headers.authorization === `Bearer ${bearer}`)).toBe(true);
  });

  test('of a provider', async () => {
    const auth = { basic: { username, password: provided } };
    await expectNoLeak({
      ...(await startRegistry({ auth })),
      auth: async () => ({ username, password: provided }),
    });
  });
});

describe('23: a credential that is refused reaches nobody else', () => {
  test('by the registry, again and again', async () => {
    await expectNoLeak(await startRegistry({ auth: { basic: { username, password: 'another' } } }));
  });

  test('by the token service', async () => {
    const { cache } = await expectNoLeak(await startRegistry({ auth: withTokens({ users: {} }) }));
    expect(cache.seen('credentials-rejected').length).toBeGreaterThan(0);
  });

  test('by a registry that repeats what it was sent, wherever it can', async () => {
    const { upstream, image } = await startRegistry({ auth: 'none' });
    for (const status of [401, 403, 404, 400, 429, 500] as const) {
      upstream.heal();
      const echo = { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
      const body = JSON.stringify({
        errors: [{ code: 'DENIED', message: `no: Authorization: ${echo.authorization}` }],
      });
      const challenge = `Basic realm="${echo.authorization}", error_description="${encodeURIComponent(password)}"`;
      const headers = {
        'content-type': 'application/json',
        'www-authenticate': challenge,
        'x-echo': echo.authorization,
      };
      upstream.on({ path: /^\/v2\// }, { status, body, headers });
      await expectNoLeak({ upstream, image });
    }
  });

  test('by a provider that fails with it in its error', async () => {
    const { upstream, image } = await startRegistry();
    await expectNoLeak({
      upstream,
      image,
      auth: () => Promise.reject(new Error(`401 for https://vault.corp/creds?token=${provided}`)),
    });
  });

  test('by programs and files that are not what they should be', async () => {
    const { upstream, image } = await startRegistry();
    for (const auth of [
      { exec: ['node', '-e', `console.error(${JSON.stringify(provided)}); console.log(${JSON.stringify(password)})`] },
      { exec: ['node', '-e', `console.error(${JSON.stringify(provided)}); process.exit(3)`] },
      { exec: [`no-such-program-${provided.length}`, provided] },
    ] as const) {
      await expectNoLeak({ upstream, image, auth: { exec: [...auth.exec] as [string, ...string[]] } });
    }
  });
});

describe('23: a realm elsewhere', () => {
  test('on a host that is not paired is asked as nobody', async () => {
    const at = await startHost({ address: '127.0.0.2' });
    const situation = await startRegistry({ auth: withTokens({ at }) });
    await expectNoLeak({ ...situation, foreign: [at] });
    expect(at.requests.length).toBeGreaterThan(0);
  });

  test.each([
    [
      'with the credential written into it',
      (at: string) => `http://${username}:${encodeURIComponent(password)}@${at}/token`,
    ],
    ['with a secret in its query', (at: string) => `http://${at}/token?key=${signature}`],
    ['that is no URL', () => `http://[${signature}`],
    ['of another scheme', () => `ftp://x/${signature}`],
    ['that is empty', () => ''],
  ])('%s', async (_what, realmOf) => {
    const at = await startHost({ address: '127.0.0.2' });
    const situation = await startRegistry({ auth: withTokens({ at, realm: realmOf(at.host) }) });
    await expectNoLeak({ ...situation, foreign: [at] });
  });

  test.each([
    ['repeats what it was sent in an error', ociError(403, 'DENIED', `token=${bearer} password: "${password}"`)],
    ['redirects elsewhere', { status: 307, headers: { location: `http://127.0.0.2/?token=${bearer}` }, body: '' }],
    ['answers with half of a token', { status: 200, headers: {}, body: `{"token": "${bearer}` }],
    ['answers with a token that breaks out of its header', jsonAnswer(200, { token: `${bearer}\r\nx: y` })],
    ['answers with a number', jsonAnswer(200, { token: 5, access_token: [bearer] })],
  ] as const)('whose service %s', async (_what, answer) => {
    const situation = await startRegistry({ auth: withTokens() });
    situation.upstream.serve('/token', () => answer);
    await expectNoLeak(situation);
  });
});
