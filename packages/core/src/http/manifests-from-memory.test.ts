import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { ManifestAnswer } from '../pull/answer.ts';
import { createHeldManifests } from '../pull/held-manifests.ts';
import type { Target } from '../pull/target.ts';
import type { RequestEvent } from './events.ts';
import { createManifestsFromMemory, type ManifestsFromMemoryParts } from './manifests-from-memory.ts';
import type { HttpRequest } from './message.ts';

const digest = `sha256:${'a1'.repeat(32)}` as const;
const place = { upstream: 'up', scope: '-', repository: 'team/app', generation: 'g' };
const target = { place, upstream: { identity: { generation: () => 'g' } } } as Target;
const bytes = Buffer.from('{}');
const byDigest: ManifestAnswer = {
  descriptor: { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 2 },
  bytes,
  byTag: false,
  cacheStatus: { hit: true },
};

function make(parts: Partial<ManifestsFromMemoryParts> = {}) {
  const events: RequestEvent[] = [];
  const located: string[] = [];
  const served: string[] = [];
  let now = 1_000_000;
  const fromMemory = createManifestsFromMemory({
    locate(route) {
      located.push(route.name);
      return { target, clientName: route.name };
    },
    whenRelocated: () => undefined,
    groups: { held: () => undefined },
    heldManifests: () => () => byDigest,
    prefetch: { served: (_, { descriptor }) => void served.push(descriptor.digest) },
    publicContent: false,
    clock: { now: () => now, monotonic: () => now, after: () => () => undefined },
    observe: (event) => void events.push(event),
    ...parts,
  });
  const ask = (url: string, sent: Record<string, string> = {}, method = 'GET') =>
    fromMemory({ method, url, headers: { get: (name) => sent[name] ?? null } } as HttpRequest);
  const pass = (ms: number) => {
    now += ms;
  };
  return { ask, events, located, pass, served };
}

const url = (name: string, query = '') => `/v2/up/${name}/manifests/1${query}`;

test('a URL that was answered is not parsed again', () => {
  const { ask, located } = make();
  for (let i = 0; i < 3; i++) expect(ask(url('app'))?.status).toBe(200);
  expect(located).toHaveLength(1);
});

test('a URL that was answered is found again once its upstream is asked as another user', () => {
  let generation = 'g';
  const located: string[] = [];
  const { ask } = make({
    locate({ name }) {
      located.push(generation);
      const upstream = { identity: { generation: () => generation } };
      return { target: { place: { ...place, generation }, upstream } as Target, clientName: name };
    },
  });
  for (let i = 0; i < 2; i++) ask(url('app'));
  generation = 'h';
  for (let i = 0; i < 2; i++) ask(url('app'));
  expect(located).toEqual(['g', 'h']);
});

test('its layers may be fetched ahead for each client that was sent it', () => {
  const { ask, served } = make();
  ask(url('app'), {}, 'HEAD');
  ask(url('app'), { 'if-none-match': `"${digest}"` });
  expect(served).toEqual([]);
  for (let i = 0; i < 2; i++) ask(url('app'));
  expect(served).toEqual([digest, digest]);
});

test.each([4_000_000, 2_000])(
  'manifests of %i bytes stayed in memory beyond its limit because they had been answered from it',
  async (size) => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const held = new Map<string, Uint8Array>([[digest, Buffer.alloc(size, ' ')]]);
    const link = { provenAt: 0, mediaType: 'application/json', size: 2, generation: 'g' };
    const record = { value: byDigest.descriptor, validatedAt: 0, stored: true };
    const rules = { freshForMs: Number.POSITIVE_INFINITY };
    const heldManifests = createHeldManifests({
      links: { lookup: () => () => link },
      tags: { lookup: () => () => record },
      manifests: { held: (of: string) => held.get(of) },
    } as unknown as Parameters<typeof createHeldManifests>[0]);
    const upstream = { ...target.upstream, rules } as Target['upstream'];
    const { ask } = make({
      heldManifests,
      locate: ({ name }) => ({ target: { ...target, upstream }, clientName: name }),
    });
    const gone = new WeakRef((held.get(digest) as Uint8Array).buffer);
    for (const reference of [digest, '1', digest, '1', digest, '1']) {
      for (const method of ['GET', 'HEAD']) {
        expect(ask(`/v2/up/app/manifests/${reference}`, {}, method)?.status, `${method} ${reference}`).toBe(200);
      }
    }
    held.clear();
    for (let turn = 0; turn < 20 && gone.deref(); turn++) {
      await setImmediate();
      collect();
    }
    expect(gone.deref() === undefined).toBe(true);
  },
);

test('of the URLs that were answered a bounded number is remembered, and the first is forgotten first', () => {
  const { ask, located } = make();
  const most = 4096;
  for (let i = 0; i < most; i++) ask(url(`app${i}`));
  for (let i = 0; i < most; i++) ask(url(`app${i}`));
  expect(located).toHaveLength(most);
  ask(url('one-more'));
  ask(url('app1'));
  expect(located).toHaveLength(most + 1);
  ask(url('app0'));
  expect(located).toHaveLength(most + 2);
});

test('what can be written in any number of ways is answered, and not remembered', () => {
  const { ask, located } = make();
  const long = 'a'.repeat(200);
  const urls = [
    url('app', '?x=1'),
    url('app', '?'),
    url('app', '?ns=a.example&x=1'),
    url('%61pp'),
    url('app', '?ns=%61'),
  ];
  for (const written of [...urls, url(long, `?ns=${long}.${long}`)]) {
    located.length = 0;
    expect(ask(written)?.status).toBe(200);
    expect(ask(written)?.status).toBe(200);
    expect(located, written).toHaveLength(2);
  }
  located.length = 0;
  ask(url('app', '?ns=a.example'));
  ask(url('app', '?ns=a.example'));
  expect(located).toHaveLength(1);
});

test('another Host takes the place of the one before', () => {
  const { ask, located } = make();
  for (const host of ['a', 'a', 'b', 'b', 'a']) ask(url('app'), { host });
  expect(located).toHaveLength(3);
});

test('what is not in memory is not remembered, and nobody is told of it', () => {
  const { ask, located, events } = make({ heldManifests: () => () => undefined });
  expect([ask(url('app')), ask(url('app'))]).toEqual([undefined, undefined]);
  expect(located).toHaveLength(2);
  expect(events).toEqual([]);
});

test('nothing but a GET or HEAD of a manifest is answered, and no error is', () => {
  const { ask, events } = make();
  for (const method of ['PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS', 'get']) {
    expect(ask(url('app'), {}, method)).toBeUndefined();
  }
  for (const path of ['/', '/v2/', '/v2/up/app/blobs/sha256:1', '/v2/UP/manifests/1', '/v2/up/app/tags/list']) {
    expect(ask(path)).toBeUndefined();
  }
  expect(make({ locate: () => undefined }).ask(url('app'))).toBeUndefined();
  expect(events).toEqual([]);
});

test('the same answer is the same object, which nobody can change', () => {
  const { ask } = make();
  const first = ask(url('app'));
  expect(ask(url('app'))).toBe(first);
  expect(Object.isFrozen(first)).toBe(true);
  expect(Object.isFrozen(first?.headers)).toBe(true);
  expect(ask(url('app'), { 'if-none-match': `"${digest}"` })?.status).toBe(304);
  expect(ask(url('app'), {}, 'HEAD')).toMatchObject({ status: 200, body: null });
  expect(ask(url('app'))).toBe(first);
});

test('bytes are answered as a view that Node writes as it is, of no memory of its own', () => {
  const kept = new Uint8Array(Buffer.from('xx{}')).subarray(2);
  const { ask } = make({ heldManifests: () => () => ({ ...byDigest, bytes: kept }) });
  const body = ask(url('app'))?.body as Buffer;
  expect(Buffer.isBuffer(body)).toBe(true);
  expect(body.toString()).toBe('{}');
  expect(body.buffer).toBe(kept.buffer);
});

test('the age of a tag’s answer goes on by itself', () => {
  const answer: ManifestAnswer = { ...byDigest, byTag: true, validatedAt: 1_000_000 };
  const { ask, pass } = make({ heldManifests: () => () => answer });
  expect(ask(url('app'))?.headers['age']).toBe('0');
  pass(999);
  expect(ask(url('app'))?.headers['age']).toBe('0');
  pass(1);
  expect(ask(url('app'))?.headers['age']).toBe('1');
});

test('each answer is told to the observer, with its repository and how long it took', () => {
  const { ask, events } = make();
  ask(url('app'));
  ask(url('app'), { 'if-none-match': '*' }, 'HEAD');
  const told = { type: 'request', kind: 'manifest', upstream: 'up', repository: 'team/app', reference: '1' };
  expect(events).toEqual([
    { ...told, method: 'GET', cacheStatus: { hit: true }, status: 200, durationMs: 0, bytes: 2 },
    { ...told, method: 'HEAD', cacheStatus: { hit: true }, status: 304, durationMs: 0, bytes: 0 },
  ]);
});
