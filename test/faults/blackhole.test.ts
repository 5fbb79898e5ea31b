import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@proxycache/core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startDaemon } from '../peers/daemon.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { startCache, startUpstream } from '../semantics/cache-under-test.ts';
import { type Got, request } from '../semantics/request.ts';
import { requireProgram } from '../system.ts';

const program = requireProgram('docker-registry');
const tags = ['1', '2', '3'] as const;

/** Debian's docker-registry (distribution 2.8) as a pull-through cache of `remote`, which it needs to be up at its start. */
async function startPeerCache(docker: string, remote: string): Promise<string> {
  const folder = makeTemporaryFolder('peer');
  const data = join(folder, 'data');
  mkdirSync(data);
  const config = join(folder, 'config.yml');
  const lines = [
    'version: 0.1',
    'log: { accesslog: { disabled: true } }',
    `storage: { filesystem: { rootdirectory: ${JSON.stringify(data)} } }`,
    'http: { addr: "127.0.0.1:0" }',
    `proxy: { remoteurl: ${JSON.stringify(remote)} }`,
  ];
  writeFileSync(config, `${lines.join('\n')}\n`);
  const daemon = startDaemon(docker, ['serve', config]);
  onTestFinished(async () => {
    // It would wait for its upstream.
    await daemon.kill();
    removeFolder(folder);
  });
  const [, address] = await daemon.says(/listening on (127\.0\.0\.1:\d+)/);
  return `http://${address}`;
}

/** An answer, and the ms it took. */
async function timed(answer: Promise<Got>): Promise<{ got: Got; ms: number }> {
  const from = performance.now();
  const got = await answer;
  return { got, ms: performance.now() - from };
}

describe.skipIf(program === undefined)('an upstream that takes connections and answers nothing', () => {
  test('leaves docker-registry without an answer after 5 s, and costs us validateWithin, then next to nothing', async () => {
    const upstream = await startUpstream();
    const digests = new Map(tags.map((tag) => [tag, upstream.addImage('team/app', { tag, seed: tag }).root.digest]));
    const peer = await startPeerCache(program!, upstream.url);
    const cache = await startCache({
      upstreams: [{ key: 'up', url: upstream.url, manifestWithin: '3s', breaker: { openFor: '30s' } }],
      clock: systemClock,
    });
    const ourPath = (tag: string) => `/v2/up/team/app/manifests/${tag}`;
    const peerUrl = `${peer}/v2/team/app/manifests/1`;
    const headers = { accept: 'application/vnd.oci.image.manifest.v1+json' };
    for (const tag of tags) expect((await cache.get(ourPath(tag))).status).toBe(200);
    expect((await request(peerUrl, { headers })).headers['docker-content-digest']).toBe(digests.get('1'));

    upstream.on({}, { hang: true });
    const client = new AbortController();
    let peerAnswered = false;
    const patience = new Promise((resolve) => setTimeout(resolve, 5_000));
    const asked = request(peerUrl, { headers, signal: client.signal }).then(
      () => {
        peerAnswered = true;
      },
      () => undefined,
    );

    const miss = timed(cache.get(ourPath('none')));
    const first = await Promise.all(tags.map((tag) => timed(cache.get(ourPath(tag)))));
    for (const [i, { got, ms }] of first.entries()) {
      expect([got.status, got.headers['docker-content-digest']]).toEqual([200, digests.get(tags[i]!)]);
      expect(got.headers['warning']).toMatch(/^299 - "stale: /);
      expect(ms).toBeGreaterThan(1_900);
      expect(ms).toBeLessThan(4_500);
    }

    const ours = () => upstream.requests.filter((one) => one.headers['user-agent']?.startsWith('proxycache/')).length;
    const before = ours();
    const later = [];
    for (let i = 0; i < 10; i++) later.push(await timed(cache.get(ourPath(tags[i % 3]!))));
    expect(later.map(({ got }) => got.status)).toEqual(later.map(() => 200));
    expect(Math.min(...later.map(({ ms }) => ms))).toBeLessThan(50);

    const missed = await miss;
    expect(missed.got.status).toBe(504);
    expect(missed.ms).toBeLessThan(4_500);
    const refused = await timed(cache.get(ourPath('none')));
    expect([refused.got.status, Number(refused.got.headers['retry-after']) > 0]).toEqual([503, true]);
    expect(refused.ms).toBeLessThan(1_000);
    expect(ours()).toBe(before);

    await patience;
    expect(peerAnswered).toBe(false);
    client.abort();
    await asked;
  });
});
