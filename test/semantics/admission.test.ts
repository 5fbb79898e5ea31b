import {
  type AdmissionContext,
  type AdmissionOptions,
  type Admit,
  type Digest,
  memoryStorage,
  minimumAge,
  requireSignature,
  type SignedContent,
  type UpstreamOptions,
} from '@proxycache/core';
import { type FakeUpstream, flakyStore, gate, manualClock, sha256 } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { startCache, startPair, startUpstream } from './cache-under-test.ts';
import { clientStyles, pullImage } from './pull-image.ts';
import type { Got } from './request.ts';

const hour = 3_600_000;
const day = 24 * hour;
const messageOf = ({ body }: Got) => JSON.parse(body.toString()).errors[0].message;
const manifestOf = (reference: string, repository = 'team/app') => `/v2/up/${repository}/manifests/${reference}`;
const blobOf = (digest: string, repository = 'team/app') => `/v2/up/${repository}/blobs/${digest}`;
const blobGets = (upstream: FakeUpstream) => upstream.count({ path: /\/blobs\// });

/** As registries do that keep manifests as blobs. */
async function alsoAsBlob(upstream: FakeUpstream, manifest: string): Promise<void> {
  const answer = await fetch(`${upstream.url}/v2/team/app/manifests/${manifest}`);
  upstream.putBlob('team/app', new Uint8Array(await answer.arrayBuffer()));
}

type Rules = Omit<AdmissionOptions, 'admit'>;

/** A cache with a policy that counts what it is asked. */
async function judged(admit: Admit, more: Rules & Partial<UpstreamOptions> = {}) {
  const { version, within, decisionFor, ...options } = more;
  const asked: AdmissionContext[] = [];
  const counted: Admit = (context) => {
    asked.push(context);
    return admit(context);
  };
  const rules = { version, within, decisionFor } as Rules;
  const pair = await startPair({ ...options, cache: { admission: { ...rules, admit: counted } } });
  return { ...pair, asked };
}

const deny = (reason: string) => ({ deny: true, reason }) as const;

describe('a manifest that is denied', () => {
  test('is refused with the reason by GET and HEAD, tag and digest, and none of its blobs is served or fetched', async () => {
    const { upstream, cache } = await judged(() => deny('we know it is bad'));
    const image = upstream.addImage('team/app', { tag: '1' });
    for (const reference of ['1', image.root.digest]) {
      expect((await cache.head(manifestOf(reference))).status).toBe(403);
      const got = await cache.get(manifestOf(reference));
      expect([got.status, got.errorCode, messageOf(got)]).toEqual([
        403,
        'DENIED',
        'refused by policy: we know it is bad',
      ]);
      expect(got.headers['docker-content-digest']).toBeUndefined();
    }
    for (const { digest } of image.blobs) {
      for (const headers of [{}, { range: 'bytes=0-9' }]) {
        const got = await cache.get(blobOf(digest), { headers });
        expect([got.status, messageOf(got)]).toEqual([403, 'refused by policy: we know it is bad']);
      }
      expect((await cache.head(blobOf(digest))).status).toBe(403);
    }
    expect(blobGets(upstream)).toBe(0);
    expect(cache.seen('request').at(-1)).toMatchObject({ error: 'not-admitted', status: 403 });
  });

  test('is refused while the version of the policy cannot be told, from memory too, and the host told why', async () => {
    let version: () => unknown = () => '1';
    const { upstream, cache } = await judged(() => ({ allow: true }), {
      freshFor: '1h',
      version: () => version() as string,
    });
    upstream.addImage('team/app', { tag: '1' });
    for (let pulls = 0; pulls < 3; pulls++) expect((await cache.get(manifestOf('1'))).status).toBe(200);
    const broken = () => {
      throw new Error('database away');
    };
    for (const [next, error] of [
      [broken, 'database away'],
      [() => undefined, 'expected version to give a text'],
    ] as const) {
      version = next;
      const got = await cache.get(manifestOf('1'));
      expect([got.status, messageOf(got)]).toEqual([503, 'which version of the policy holds cannot be told']);
      expect(cache.seen('admission-failed').at(-1)).toMatchObject({ repository: 'team/app', reference: '1', error });
    }
    version = () => '1';
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
  });

  test('changes nothing of what is stored: once it is let pass, all is served as before', async () => {
    let verdict: 'allow' | 'deny' = 'allow';
    const admit = () => (verdict === 'allow' ? ({ allow: true } as const) : deny('not today'));
    const { upstream, cache } = await judged(admit, { version: () => verdict });
    const image = upstream.addImage('team/app', { tag: '1' });
    const paths = [manifestOf('1'), manifestOf(image.root.digest), ...image.blobs.map(({ digest }) => blobOf(digest))];
    const statuses = async () => (await Promise.all(paths.map((path) => cache.get(path)))).map(({ status }) => status);
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
    expect(await statuses()).toEqual(paths.map(() => 200));
    await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(image.blobs.length);
    const fetched = upstream.count({ method: 'GET' });
    verdict = 'deny';
    expect(await statuses()).toEqual(paths.map(() => 403));
    verdict = 'allow';
    expect(await statuses()).toEqual(paths.map(() => 200));
    expect(upstream.count({ method: 'GET' })).toBe(fetched);
  });

  test('by tag leaves the same digest to another repository that is let pass', async () => {
    const { upstream, cache } = await judged(({ repository }) =>
      repository === 'good/app' ? { allow: true } : deny('not from there'),
    );
    const image = upstream.addImage('team/app', { tag: '1', seed: 'same' });
    upstream.addImage('good/app', { tag: '1', seed: 'same' });
    const [layer] = image.layers;
    for (const reference of ['1', image.root.digest]) {
      expect((await cache.get(manifestOf(reference))).status).toBe(403);
      expect((await cache.get(manifestOf(reference, 'good/app'))).status).toBe(200);
    }
    expect((await cache.get(blobOf(layer!.digest, 'good/app'))).status).toBe(200);
    expect((await cache.get(blobOf(layer!.digest))).status).toBe(403);
  });

  test('is judged by what is stored while the upstream is down, and a changed tag anew before it is served', async () => {
    const bad = new Set<string>();
    const { upstream, cache } = await judged(({ descriptor }) =>
      bad.has(descriptor.digest) ? deny('it is on the list') : { allow: true },
    );
    upstream.addImage('team/app', { tag: '1', seed: 'old' });
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
    const next = upstream.addImage('team/app', { tag: '1', seed: 'new' });
    bad.add(next.root.digest);
    expect((await cache.head(manifestOf('1'))).status).toBe(403);
    expect((await cache.get(manifestOf('1'))).status).toBe(403);
    await upstream.stop();
    expect((await cache.get(manifestOf('1'))).status).toBe(403);
    bad.clear();
    cache.clock.set(cache.clock.now() + 5 * 60_000);
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
  });

  test('keeps its layers from being fetched ahead', async () => {
    const { upstream, cache } = await judged(() => deny('no'), { prefetch: 'layers' });
    upstream.addImage('team/app', { tag: '1' });
    expect((await cache.get(manifestOf('1'))).status).toBe(403);
    await cache.cache.close();
    expect(blobGets(upstream)).toBe(0);
  });
});

describe('a blob', () => {
  test('passes only for the sake of a manifest that was asked for in its repository', async () => {
    const { upstream, cache } = await judged(() => ({ allow: true }));
    const image = upstream.addImage('team/app', { tag: '1', seed: 'same' });
    upstream.addImage('other/app', { tag: '1', seed: 'same' });
    const { digest } = image.layers[0]!;
    for (const ask of [cache.get, cache.head]) {
      const got = await ask(blobOf(digest));
      expect(got.status).toBe(403);
    }
    expect(messageOf(await cache.get(blobOf(digest)))).toBe(
      `blob ${digest} of team/app at up passes only with an image; pull its manifest first`,
    );
    expect(blobGets(upstream)).toBe(0);
    await cache.get(manifestOf('1', 'other/app'));
    expect((await cache.get(blobOf(digest))).status).toBe(403);
    expect((await cache.get(blobOf(digest, 'other/app'))).status).toBe(200);
    await cache.head(manifestOf('1'));
    expect((await cache.get(blobOf(digest))).status).toBe(200);
    expect((await cache.head(blobOf(image.config.digest))).status).toBe(200);
    expect((await cache.get(blobOf(sha256(Buffer.from('nobody has it'))))).status).toBe(403);
  });

  test('of several images needs one of them that is admitted', async () => {
    const bad = new Set<string>();
    const { upstream, cache } = await judged(
      ({ descriptor }) => (bad.has(descriptor.digest) ? deny('bad one') : { allow: true }),
      { decisionFor: 0 },
    );
    const layer = {
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      size: 6,
      digest: upstream.putBlob('team/app', 'shared'),
    };
    const images = ['a', 'b'].map((name) => {
      const config = {
        mediaType: 'application/vnd.oci.empty.v1+json',
        size: 1,
        digest: upstream.putBlob('team/app', name),
      };
      return upstream.putManifest('team/app', { schemaVersion: 2, config, layers: [layer] }, { tags: [name] }).digest;
    });
    for (const digest of images) bad.add(digest);
    for (const name of ['a', 'b']) expect((await cache.get(manifestOf(name))).status).toBe(403);
    expect(messageOf(await cache.get(blobOf(layer.digest)))).toBe('refused by policy: bad one');
    bad.delete(images[0]!);
    expect((await cache.get(blobOf(layer.digest))).status).toBe(200);
  });

  test('is served after a restart, and by another cache on the same storage, without its manifest being asked for again', async () => {
    const clock = manualClock();
    const storage = memoryStorage({ clock });
    const admission = { admit: () => ({ allow: true }) as const };
    const { upstream, cache } = await startPair({ cache: { storage, admission } });
    const image = upstream.addImage('team/app', { tag: '1' });
    await cache.get(manifestOf('1'));
    const other = await startCache({ upstreams: [{ key: 'up', url: upstream.url }], storage, admission });
    expect((await other.get(blobOf(image.config.digest))).status).toBe(200);
    await cache.restart();
    for (const { digest } of image.layers) expect((await cache.get(blobOf(digest))).status).toBe(200);
  });
});

describe('a child of an index', () => {
  const denyIndex: Admit = ({ manifest }) => (manifest.kind === 'index' ? deny('no such index') : { allow: true });

  test('that is denied is refused by digest, with its blobs', async () => {
    const { upstream, cache } = await judged(denyIndex);
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
    expect((await cache.get(manifestOf('1'))).status).toBe(403);
    for (const { digest } of image.manifests) {
      const got = await cache.get(manifestOf(digest));
      expect([got.status, messageOf(got)]).toEqual([403, 'refused by policy: no such index']);
    }
    for (const { digest } of image.blobs) expect((await cache.get(blobOf(digest))).status).toBe(403);
    expect(blobGets(upstream)).toBe(0);
  });

  test('passes where it was asked for by a tag of its own, with its blobs', async () => {
    const { upstream, cache } = await judged(denyIndex);
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
    const [first, second] = image.manifests;
    upstream.tag('team/app', 'amd64', first!.digest);
    expect((await cache.get(manifestOf('1'))).status).toBe(403);
    expect((await cache.get(manifestOf('amd64'))).status).toBe(200);
    expect((await cache.get(manifestOf(first!.digest))).status).toBe(200);
    expect((await cache.get(blobOf(image.config.digest))).status).toBe(200);
    expect((await cache.get(manifestOf(second!.digest))).status).toBe(403);
  });

  test('that is denied itself is refused as a blob, too, by GET, HEAD and ranges, whether it was asked for or not', async () => {
    const { upstream, cache } = await judged(({ manifest }) =>
      manifest.kind === 'index' ? { allow: true } : deny('bad image'),
    );
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
    for (const { digest } of image.manifests) {
      await alsoAsBlob(upstream, digest);
      for (let asks = 0; asks < 2; asks++) {
        const got = await cache.get(blobOf(digest));
        expect([got.status, messageOf(got)]).toEqual([403, 'refused by policy: bad image']);
        expect((await cache.get(blobOf(digest), { headers: { range: 'bytes=0-9' } })).status).toBe(403);
        expect((await cache.head(blobOf(digest))).status).toBe(403);
        expect((await cache.get(manifestOf(digest))).status).toBe(403);
      }
    }
    expect(blobGets(upstream)).toBe(0);
  });

  test('that is let pass is served as a blob, too, where its upstream does so', async () => {
    const { upstream, cache } = await judged(() => ({ allow: true }));
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64'] });
    await cache.get(manifestOf('1'));
    const [child] = image.manifests;
    await alsoAsBlob(upstream, child!.digest);
    const got = await cache.get(blobOf(child!.digest));
    expect([got.status, sha256(got.body)]).toEqual([200, child!.digest]);
  });

  test('that is let pass is judged by itself, and tells which index let it', async () => {
    const { upstream, cache, asked } = await judged(({ manifest, parents }) =>
      manifest.kind === 'index' || parents.length > 0 ? { allow: true } : deny('not by itself'),
    );
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64'] });
    const [child] = image.manifests;
    expect((await cache.get(manifestOf(child!.digest))).status).toBe(403);
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
    expect((await cache.get(manifestOf(child!.digest))).status).toBe(200);
    expect(asked.at(-1)?.parents).toEqual([image.root.digest]);
    expect((await cache.get(blobOf(image.config.digest))).status).toBe(200);
  });

  test('is refused while nobody can say whether its index would be let pass, and its index fetched again where it is gone here', async () => {
    let fails = false;
    const { upstream, cache } = await judged(
      () => {
        if (fails) throw new Error('database away');
        return { allow: true };
      },
      { decisionFor: 0 },
    );
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64'] });
    await cache.get(manifestOf('1'));
    const child = manifestOf(image.manifests[0]!.digest);
    fails = true;
    expect((await cache.get(child)).status).toBe(503);
    fails = false;
    expect((await cache.get(child)).status).toBe(200);
  });
});

describe('minimumAge', () => {
  test('holds an image for so long since it was first seen, tells until when, and then lets it pass with its children', async () => {
    const { upstream, cache } = await judged(minimumAge('7d'));
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64'] });
    const seenAt = cache.clock.now();
    const first = await cache.get(manifestOf('1'));
    const instant = (at: number) => new Date(at).toISOString().replace('.000', '');
    expect(first.status).toBe(403);
    expect(messageOf(first)).toBe(
      `held by policy until ${instant(seenAt + 7 * day)}: it has to be 7d old, and it was first seen here ${instant(seenAt)}; pull again then`,
    );
    expect(first.headers['retry-after']).toBe(String((7 * day) / 1000));
    cache.clock.set(cache.clock.now() + 7 * day - 1_000);
    const last = await cache.head(manifestOf('1'));
    expect([last.status, last.headers['retry-after']]).toEqual([403, '1']);
    expect((await cache.get(manifestOf(image.manifests[0]!.digest))).status).toBe(403);
    cache.clock.set(cache.clock.now() + 1_000);
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
    expect((await cache.get(manifestOf(image.manifests[0]!.digest))).status).toBe(200);
    expect((await cache.get(blobOf(image.config.digest))).status).toBe(200);
  });

  test('counts from the first sight of all caches on a storage, also after a restart', async () => {
    const clock = manualClock();
    const storage = memoryStorage({ clock });
    const admission = { admit: minimumAge('1h') };
    const { upstream, cache } = await startPair({ cache: { storage, admission, clock } });
    upstream.addImage('team/app', { tag: '1' });
    expect((await cache.get(manifestOf('1'))).status).toBe(403);
    clock.set(clock.now() + hour / 2);
    const other = await startCache({ upstreams: [{ key: 'up', url: upstream.url }], storage, admission, clock });
    expect((await other.get(manifestOf('1'))).status).toBe(403);
    clock.set(clock.now() + hour / 2);
    expect((await other.get(manifestOf('1'))).status).toBe(200);
    await cache.restart();
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
  });

  test('held an image, and what an index names, no longer for a clock that was ahead once, also after a restart', async () => {
    const clock = manualClock();
    const storage = memoryStorage({ clock });
    const { upstream, cache } = await startPair({ cache: { storage, admission: { admit: minimumAge('1h') }, clock } });
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64'] });
    const pulls = async () =>
      [await cache.get(manifestOf('1')), await cache.get(manifestOf(image.manifests[0]!.digest))].map(
        ({ status }) => status,
      );
    const right = clock.now();
    clock.set(right + 3_650 * day);
    expect(await pulls()).toEqual([403, 403]);
    clock.set(right);
    expect(await pulls()).toEqual([403, 403]);
    clock.set(right + hour - 1);
    expect(await pulls()).toEqual([403, 403]);
    await cache.restart();
    clock.set(right + hour);
    expect(await pulls()).toEqual([200, 200]);
  });

  test('fails closed where the first sight cannot be written down or read, and goes on when it can', async () => {
    const storage = flakyStore(memoryStorage({ clock: manualClock() }));
    const { upstream, cache } = await startPair({ cache: { storage, admission: { admit: minimumAge(1) } } });
    upstream.addImage('team/app', { tag: '1' });
    storage.on('metadata.set', { fail: 'away' });
    const got = await cache.get(manifestOf('1'));
    expect([got.status, got.errorCode, got.headers['retry-after']]).toEqual([503, 'UNAVAILABLE', '5']);
    expect(cache.seen('admission-failed').at(-1)).toMatchObject({
      upstream: 'up',
      repository: 'team/app',
      reference: '1',
      error: 'when it was first seen here cannot be read or written down now',
    });
    storage.heal();
    await cache.get(manifestOf('1'));
    cache.clock.set(cache.clock.now() + 1);
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
  });
});

describe('a hook', () => {
  test.each([
    ['throws', () => Promise.reject(new Error('database of user:secret@host away'))],
    ['gives nothing', () => undefined],
    ['gives what is no decision', () => ({ allow: 'yes' })],
    ['gives two decisions', () => ({ allow: true, deny: true, reason: 'both' })],
    ['denies without a reason', () => ({ deny: true })],
    ['holds until no instant', () => ({ holdUntil: Number.NaN })],
  ])('that %s lets nothing pass, and tells the host alone why', async (_how, admit) => {
    const { upstream, cache } = await judged(admit as unknown as Admit);
    upstream.addImage('team/app', { tag: '1' });
    for (const ask of [cache.get, cache.head]) {
      const got = await ask(manifestOf('1'));
      expect([got.status, got.headers['retry-after']]).toEqual([503, '5']);
      expect(got.body.toString()).not.toContain('database');
    }
    expect(messageOf(await cache.get(manifestOf('1')))).toBe(
      'it could not be decided whether team/app:1 may be pulled',
    );
    expect(cache.seen('admission-failed')).toHaveLength(3);
  });

  test('that is late lets nothing pass and is told to stop; a decision that comes then is not taken', async () => {
    const held = gate();
    const { upstream, cache, asked } = await judged(
      async () => {
        await held.pass();
        return { allow: true };
      },
      { within: '2s' },
    );
    upstream.addImage('team/app', { tag: '1' });
    const pending = cache.get(manifestOf('1'));
    await held.reached;
    await cache.clock.advance(2_000);
    expect((await pending).status).toBe(503);
    expect(asked[0]?.signal.aborted).toBe(true);
    expect(cache.seen('admission-failed').at(-1)?.error).toBe('not done within 2000 ms');
    held.open();
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
    expect(asked).toHaveLength(2);
  });

  test('is asked once by however many ask at the same time, and told when all of them have left', async () => {
    const held = gate();
    const { upstream, cache, asked } = await judged(async ({ signal }) => {
      await held.pass(signal);
      return { allow: true };
    });
    upstream.addImage('team/app', { tag: '1' });
    const clients = [new AbortController(), new AbortController()];
    const leaving = clients.map(({ signal }) => cache.get(manifestOf('1'), { signal }).catch(() => 'left'));
    await held.reached;
    for (const client of clients) client.abort();
    expect(await Promise.all(leaving)).toEqual(['left', 'left']);
    await expect.poll(() => asked[0]?.signal.aborted).toBe(true);
    const all = Array.from({ length: 8 }, () => cache.get(manifestOf('1')));
    await held.reachedBy(2);
    held.open();
    expect((await Promise.all(all)).map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect(asked).toHaveLength(2);
  });

  test('is asked again when its decision has run out, and not before, whoever answers', async () => {
    const { upstream, cache, asked } = await judged(() => ({ allow: true }), {
      decisionFor: '1m',
      freshFor: '1h',
    });
    const image = upstream.addImage('team/app', { tag: '1' });
    for (let times = 0; times < 3; times++) {
      expect((await cache.get(manifestOf('1'))).status).toBe(200);
      expect((await cache.head(manifestOf(image.root.digest))).status).toBe(200);
      expect((await cache.get(blobOf(image.config.digest))).status).toBe(200);
    }
    expect(asked).toHaveLength(1);
    cache.clock.set(cache.clock.now() + 60_000);
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
    expect(asked).toHaveLength(2);
  });

  test('may say how long it holds', async () => {
    let until = 0;
    const { upstream, cache, asked } = await judged(() => ({ allow: true, until }), { freshFor: '1h' });
    until = cache.clock.now() + 10_000;
    upstream.addImage('team/app', { tag: '1' });
    await cache.get(manifestOf('1'));
    cache.clock.set(cache.clock.now() + 9_999);
    await cache.get(manifestOf('1'));
    expect(asked).toHaveLength(1);
    cache.clock.set(cache.clock.now() + 1);
    await cache.get(manifestOf('1'));
    expect(asked).toHaveLength(2);
  });

  test('that looks at the tag is asked for each, one that looks at the request for each request', async () => {
    for (const [facet, times] of [
      ['reference', 2],
      ['request', 4],
      ['identity', 1],
    ] as const) {
      const { upstream, cache, asked } = await judged((context) => {
        void context[facet];
        return { allow: true };
      });
      const image = upstream.addImage('team/app', { tag: '1' });
      upstream.tag('team/app', '2', image.root.digest);
      for (const tag of ['1', '2', '1', '2']) expect((await cache.get(manifestOf(tag))).status).toBe(200);
      expect([facet, asked.length]).toEqual([facet, times]);
    }
  });

  test('sees the verified config, also of an image that nobody has pulled, what refers to it, and blobs of its repository', async () => {
    const seen: unknown[] = [];
    const { upstream, cache } = await judged(async (context) => {
      const config = await context.config();
      const [signature] = await context.referrers();
      const { bytes } = await context.fetchManifest({ kind: 'digest', digest: signature?.['digest'] as `x:${string}` });
      const [layer] = context.manifest.blobs.slice(1);
      seen.push(JSON.parse(Buffer.from(config!).toString()).os, signature?.['artifactType'], bytes.byteLength);
      seen.push((await context.fetchBlob(layer!.digest)).byteLength);
      return { allow: true };
    });
    const image = upstream.addImage('team/app', { tag: '1' });
    const referrer = upstream.addReferrer('team/app', { subject: image.root, artifactType: 'application/x-signature' });
    expect((await cache.get(manifestOf('1'))).status).toBe(200);
    expect(seen).toEqual(['linux', 'application/x-signature', referrer.size, image.layers[0]!.size]);
  });

  test('whose config cannot be had lets nothing pass, and the client is told what the upstream said', async () => {
    const { upstream, cache } = await judged(async ({ config }) => {
      await config();
      return { allow: true };
    });
    const image = upstream.addImage('team/app', { tag: '1' });
    upstream.on({ path: new RegExp(image.config.digest) }, { status: 500 });
    const got = await cache.get(manifestOf('1'));
    expect(got.status).toBe(503);
    expect(messageOf(got)).toMatch(/^it could not be decided whether team\/app:1 may be pulled: up answered 500/);
  });
});

test('what is larger than 4 MiB is not shown to a policy', async () => {
  const { upstream, cache } = await judged(async ({ manifest, fetchBlob }) => {
    await fetchBlob(manifest.blobs[1]!.digest);
    return { allow: true };
  });
  upstream.addImage('team/app', { tag: '1', layerSizes: [4 * 1024 * 1024 + 1] });
  expect((await cache.get(manifestOf('1'))).status).toBe(503);
  expect(cache.seen('admission-failed')[0]?.error).toMatch(/more than 4194304 bytes/);
});

test('each caller is judged apart where the hook looks at who asks, and audits tell what was held', async () => {
  const { upstream, cache } = await startPair({
    cache: {
      admission: {
        admit: ({ identity, now }) =>
          identity?.attributes?.['team'] === 'web'
            ? { allow: true }
            : { holdUntil: now + day, reason: 'not for you yet' },
      },
      access: {
        authenticate: ({ headers }) => {
          const name = headers.get('authorization');
          return name === null ? undefined : { name: 'same', attributes: { team: name } };
        },
      },
    },
  });
  const image = upstream.addImage('team/app', { tag: '1' });
  const paths = [manifestOf('1'), manifestOf(image.root.digest), blobOf(image.config.digest)];
  const statuses = async (authorization?: string) => {
    const headers = authorization === undefined ? {} : { authorization };
    const all: number[] = [];
    for (const path of paths) all.push((await cache.get(path, { headers })).status);
    return all;
  };
  for (let times = 0; times < 2; times++) {
    expect(await statuses('web')).toEqual([200, 200, 200]);
    expect(await statuses('db')).toEqual([403, 403, 403]);
    expect(await statuses()).toEqual([403, 403, 403]);
  }
  expect(cache.seen('admission')).toHaveLength(3);
  const held = cache.seen('pull').filter(({ decision }) => decision === 'hold');
  expect(held).toHaveLength(12);
  expect(held[0]).toMatchObject({ identity: 'same', status: 403, reason: expect.stringMatching(/not for you yet/) });
});

test('content of upstreams that are not judged passes as without a policy', async () => {
  const bad = await startUpstream();
  const good = await startUpstream();
  const cache = await startCache({
    upstreams: [
      { key: 'bad', url: bad.url },
      { key: 'good', url: good.url, freshFor: '1h' },
    ],
    admission: { admit: () => deny('no'), upstreams: ['bad'] },
  });
  for (const upstream of [bad, good]) upstream.addImage('team/app', { tag: '1', seed: 'same' });
  const image = good.addImage('team/app', { tag: '1', seed: 'same' });
  for (const [key, status] of [
    ['good', 200],
    ['bad', 403],
    ['good', 200],
  ] as const) {
    for (const path of [`blobs/${image.config.digest}`, 'manifests/1', `manifests/${image.root.digest}`]) {
      expect([key, (await cache.get(`/v2/${key}/team/app/${path}`)).status]).toEqual([key, status]);
    }
  }
});

describe('an image that is let pass', () => {
  test.each(clientStyles)('is pulled whole by a client that begins with %s, cold and warm', async (style) => {
    const { upstream, cache } = await judged(() => ({ allow: true }), { freshFor: '1h', prefetch: 'layers' });
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
    for (let times = 0; times < 2; times++) {
      const pulled = await pullImage(cache, { path: '/v2/up/team/app', tag: '1' }, style);
      expect([pulled.status, pulled.digest]).toEqual([200, image.root.digest]);
      expect(pulled.content.size).toBe(5);
    }
  });

  test('is served while the metadata store is away, for as long as memory knows what belongs to it', async () => {
    const storage = flakyStore(memoryStorage({ clock: manualClock() }));
    const admission = { admit: () => ({ allow: true }) as const, decisionFor: 0 };
    const { upstream, cache } = await startPair({ cache: { storage, admission } });
    upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64'] });
    for (const operation of ['metadata.get', 'metadata.getMany', 'metadata.set', 'metadata.list'] as const) {
      storage.on(operation, { fail: 'away' });
    }
    const pulled = await pullImage(cache, { path: '/v2/up/team/app', tag: '1' });
    expect([pulled.status, pulled.content.size]).toEqual([200, 5]);
  });

  test('is judged for its layers by bytes that are fetched again, where the store has lost its manifest', async () => {
    const clock = manualClock();
    const storage = memoryStorage({ clock });
    const admission = { admit: () => ({ allow: true }) as const };
    const { upstream, cache } = await startPair({ cache: { storage, admission, clock, memory: { manifests: 0 } } });
    const image = upstream.addImage('team/app', { tag: '1' });
    const { signal } = new AbortController();
    await cache.get(manifestOf('1'));
    await storage.blobs.delete(image.root.digest, { signal });
    await cache.restart();
    expect((await cache.get(blobOf(image.config.digest))).status).toBe(200);
    upstream.removeTag('team/app', '1');
    upstream.removeManifest('team/app', image.root.digest);
    await storage.blobs.delete(image.root.digest, { signal });
    await cache.restart();
    const got = await cache.get(blobOf(image.config.digest));
    expect(got.status).toBe(403);
    expect(messageOf(got)).toMatch(/can be judged; pull one that is at up first$/);
  });
});

test('requireSignature lets pass what its callback finds among the referrers, with the images of an index that is signed', async () => {
  const verify = async ({ referrers, fetchManifest, fetchBlob, manifest }: SignedContent) => {
    if (manifest.artifactType === 'application/x-signature') return true;
    for (const { digest, artifactType } of await referrers()) {
      if (artifactType !== 'application/x-signature') continue;
      const { bytes } = await fetchManifest({ kind: 'digest', digest: digest as Digest });
      const [layer] = JSON.parse(Buffer.from(bytes).toString()).layers;
      if ((await fetchBlob(layer.digest)).byteLength === layer.size) return true;
    }
    return { reason: 'nobody signed it' };
  };
  const { upstream, cache } = await judged(requireSignature({ verify }));
  const platforms = ['linux/amd64'];
  const image = upstream.addImage('team/app', { tag: '1', platforms });
  const denied = await cache.get(manifestOf('1'));
  expect([denied.status, messageOf(denied)]).toEqual([
    403,
    'refused by policy: no signature of it counts here: nobody signed it',
  ]);
  expect(blobGets(upstream)).toBe(0);
  const signed = upstream.addImage('team/app', { tag: '2', platforms });
  const signature = {
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    size: 9,
    digest: upstream.putBlob('team/app', 'signature'),
  };
  upstream.putManifest('team/app', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    artifactType: 'application/x-signature',
    config: signature,
    layers: [signature],
    subject: signed.root,
  });
  const pulled = await pullImage(cache, { path: '/v2/up/team/app', tag: '2' });
  expect([pulled.status, pulled.digest]).toEqual([200, signed.root.digest]);
  expect((await cache.get(manifestOf(image.manifests[0]!.digest))).status).toBe(403);
});

test('a policy is not asked for `has` and `resolve`, which serve nothing', async () => {
  const { upstream, cache, asked } = await judged(() => deny('no'));
  const image = upstream.addImage('team/app', { tag: '1' });
  expect((await cache.cache.resolve('up/team/app:1')).digest).toBe(image.root.digest);
  expect(await cache.cache.has('up/team/app:1')).toBe(false);
  expect(asked).toEqual([]);
});
