import { type AddressInfo, createServer } from 'node:net';
import { jsonAnswer, selfSigned, startFakeCdn } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  bearer,
  expectNoLeak,
  repository,
  signature,
  startCdn,
  startHost,
  startRegistry,
  withTokens,
} from './expect-no-leak.ts';

describe('24: a redirect', () => {
  test('to a CDN carries no credential, and its signature goes nowhere else', async () => {
    const cdn = await startCdn();
    const situation = await startRegistry({ redirectBlobsTo: cdn });
    const { cache } = await expectNoLeak({
      ...situation,
      foreign: [cdn],
      more: () => cdn.requests.map(({ query }) => query.get('Signature') ?? signature),
    });
    expect(cdn.requests.length).toBeGreaterThan(0);
    expect(cache.seen('ingest-ended').some(({ outcome }) => outcome === 'stored')).toBe(true);
  });

  test.each([
    ['refuses, repeating the URL', { status: 403, body: `<Error>Signature=${signature}</Error>` }],
    ['fails', { status: 500, body: `bad ?Signature=${signature}` }],
    ['says 429', { status: 429, body: signature }],
    ['breaks off', { cutAfter: 10, how: 'rst' }],
    ['ends too soon', { cutAfter: 10, how: 'fin' }],
    ['sends other bytes', { corruptAt: 3 }],
    ['drops the connection', { drop: 'rst' }],
  ] as const)('to a CDN that %s', async (_what, fault) => {
    const cdn = await startCdn();
    const situation = await startRegistry({ redirectBlobsTo: cdn });
    cdn.on({}, fault);
    await expectNoLeak({
      ...situation,
      foreign: [cdn],
      more: () => cdn.requests.map(({ query }) => query.get('Signature') ?? signature),
    });
  });

  test.each([
    ['to a host that is gone', `http://127.0.0.3:9/x?Signature=${signature}`],
    ['to what is no URL', `http://[x?Signature=${signature}`],
    ['to another scheme', `file:///etc/passwd?${signature}`],
    ['to a URL with a user in it', `http://ann:${signature}@127.0.0.3:9/`],
    ['to a metadata service', `http://169.254.169.254/latest?token=${signature}`],
    ['to itself without an end', ''],
  ])('%s', async (_what, location) => {
    const situation = await startRegistry();
    const { upstream } = situation;
    upstream.on(
      { path: /\/(blobs|manifests|tags|referrers)\// },
      { redirect: location || `${upstream.url}/v2/${repository}/blobs/x?s=${signature}` },
    );
    await expectNoLeak(situation);
  });

  test('elsewhere and back carries no credential back', async () => {
    const { upstream, image } = await startRegistry({ auth: 'none' });
    const hop = await startHost({ address: '127.0.0.2' }, () => ({
      status: 307,
      headers: { location: `${upstream.url}/back?s=${signature}` },
      body: '',
    }));
    upstream.serve('/back', () => jsonAnswer(200, {}));
    upstream.on({ path: /\/blobs\// }, { redirect: `${hop.url}/hop?s=${signature}` });
    await expectNoLeak({ upstream, image, auth: { token: bearer }, foreign: [hop] });
    const back = upstream.requests.filter(({ path }) => path === '/back');
    expect(back.length).toBeGreaterThan(0);
    expect(back.filter(({ headers }) => headers.authorization)).toEqual([]);
  });
});

describe('a connection that fails', () => {
  test('by its certificate: the registry’s, its token service’s, its CDN’s', async () => {
    const { ca, server } = await selfSigned();
    const registry = await startRegistry({ tls: server });
    await expectNoLeak(registry);
    const at = await startHost({ tls: server, address: '127.0.0.2' });
    await expectNoLeak({ ...(await startRegistry({ auth: withTokens({ at }) })), foreign: [at] });
    // SEMANTICS 23: the authority is trusted for the registry alone.
    const cdn = await startFakeCdn({ tls: server, address: '127.0.0.3' });
    onTestFinished(() => cdn.stop());
    const redirecting = await startRegistry({ tls: server, redirectBlobsTo: cdn });
    await expectNoLeak({ ...redirecting, options: { tls: { ca } }, foreign: [cdn] });
    expect(cdn.requests).toEqual([]);
  });

  test('in the middle of a manifest, and of a blob', async () => {
    for (const how of ['rst', 'fin'] as const) {
      const situation = await startRegistry({ auth: withTokens() });
      situation.upstream.on({ path: /\/(manifests|blobs)\// }, { cutAfter: 10, how });
      await expectNoLeak(situation);
    }
  });

  test.each([
    ['in a header', (sent: string) => `HTTP/1.1 200 OK\r\nX-Echo: a\r\n${sent}\r\n\r\n`],
    ['in the status line', (sent: string) => `HTTP/1.1 ${sent}\r\n\r\n`],
    ['in a chunk', (sent: string) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${sent}\r\n`],
    ['and in a Location', (sent: string) => `HTTP/1.1 307 x\r\nLocation: ${sent}\r\nBad Header\r\n\r\n`],
  ])('because what comes is no HTTP, with all that was sent %s', async (_what, answerWith) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (chunk) => socket.end(answerWith(`${chunk.toString('latin1')}?Signature=${signature}`)));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
    const { upstream, image } = await startRegistry();
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const situation = { upstream, image, options: { url, resumeWithin: 0 }, auth: { token: bearer } };
    upstream.on({}, { status: 500 });
    await fetch(upstream.url).catch(() => undefined);
    await expectNoLeak(situation);
  });

  test('because it is something else with status 200, with all that was sent', async () => {
    const { upstream, image } = await startRegistry({ auth: 'none' });
    const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
    upstream.on({ path: /\/(manifests|referrers|tags)\// }, { status: 200, body: bearer, headers });
    // A HEAD has no body to be judged by.
    upstream.on({ method: 'HEAD' }, { status: 404 });
    const { watch } = await expectNoLeak({ upstream, image, auth: { token: bearer } });
    expect(watch.count()).toBeGreaterThan(0);
  });

  test('to the proxy in between', async () => {
    const proxyPassword = 'pr0xy-passw0rd';
    const proxy = await startHost({ address: '127.0.0.2' }, () => ({ status: 407, headers: {}, body: 'who are you?' }));
    const situation = await startRegistry({ auth: withTokens() });
    for (const url of [proxy.url, 'http://127.0.0.2:9']) {
      await fetch(situation.upstream.url);
      await expectNoLeak({
        ...situation,
        options: { proxy: url.replace('://', `://corp:${proxyPassword}@`) },
        more: () => [proxyPassword, `corp:${proxyPassword}`],
      });
    }
  });
});
