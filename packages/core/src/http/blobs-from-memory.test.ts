import { expect, test } from 'vitest';
import type { Target } from '../pull/target.ts';
import { isWhole } from '../runtime/bytes.ts';
import { type BlobsFromMemoryParts, createBlobsFromMemory } from './blobs-from-memory.ts';
import type { HttpEvent } from './events.ts';
import type { HttpRequest } from './message.ts';

const digest = `sha256:${'a1'.repeat(32)}` as const;
const place = { upstream: 'up', scope: '-', repository: 'team/app', generation: 'g' };
const target = { place, upstream: { identity: { generation: () => 'g' } } } as Target;
const url = `/v2/up/team/app/blobs/${digest}`;

function make(parts: Partial<BlobsFromMemoryParts> = {}) {
  const events: HttpEvent[] = [];
  const counts = { located: 0, opened: 0, closed: 0 };
  let now = 1_000_000;
  const fromMemory = createBlobsFromMemory({
    locate({ name }) {
      counts.located++;
      return { target, clientName: name };
    },
    whenRelocated: () => undefined,
    groups: { held: () => undefined },
    heldBlobs: () => () => {
      counts.opened++;
      return { bytes: Buffer.from('blob'), close: async () => void counts.closed++ };
    },
    publicContent: false,
    clock: { now: () => now, monotonic: () => now++, after: () => () => undefined },
    observe: (event) => void events.push(event),
    ...parts,
  });
  const ask = (path = url, sent: Record<string, string> = {}, method = 'GET') =>
    fromMemory({ method, url: path, headers: { get: (name) => sent[name] ?? null } } as HttpRequest);
  return { ask, events, counts };
}

test('a blob is answered in one piece, told of at once and when it was sent, and let go of then', () => {
  const { ask, events, counts } = make();
  for (const complete of [true, false]) {
    events.length = 0;
    const response = ask();
    expect(response).toMatchObject({ status: 200, headers: { 'content-length': '4', etag: `"${digest}"` } });
    const about = { kind: 'blob', upstream: 'up', repository: 'team/app', cacheStatus: { hit: true } };
    const request = { type: 'request', ...about, method: 'GET', reference: digest, status: 200, durationMs: 1 };
    expect(events).toEqual([request]);
    const body = response?.body ?? null;
    if (body === null || !isWhole(body)) throw new Error('the body is not here in one piece');
    const { bytes, over } = body.takeWhole();
    expect([Buffer.from(bytes).toString(), counts.closed]).toEqual(['blob', complete ? 0 : 1]);
    over(complete);
    expect(events.slice(1)).toEqual([{ type: 'response-ended', ...about, bytes: 4, complete }]);
  }
  expect(counts).toEqual({ located: 1, opened: 2, closed: 2 });
});

test('the headers of a URL are its own, and nobody can change them for others', () => {
  const { ask } = make();
  const named = ask(`${url}?ns=docker.io`)?.headers;
  expect(named).toMatchObject({ 'oci-namespace': 'docker.io' });
  expect(ask()?.headers).not.toHaveProperty('oci-namespace');
  expect(Object.isFrozen(named)).toBe(true);
});

test('the group that it was asked for by is told', () => {
  const held = { target, group: 'all', holds: () => isHeld };
  let isHeld = true;
  const { ask, events } = make({ locate: () => undefined, groups: { held: () => (isHeld ? held : undefined) } });
  expect(ask()?.status).toBe(200);
  expect(events).toMatchObject([{ group: 'all', upstream: 'up' }]);
  isHeld = false;
  expect(ask()).toBeUndefined();
});

test('what is not a plain GET of a blob that is here is left to whoever handles it, and not opened', () => {
  const { ask, events, counts } = make();
  for (const method of ['HEAD', 'PUT', 'POST', 'DELETE', 'get']) expect(ask(url, {}, method)).toBeUndefined();
  for (const path of ['/', '/v2/', '/v2/up/team/app/manifests/1', '/v2/up/blobs/sha256:1', `/v2/UP/blobs/${digest}`]) {
    expect(ask(path)).toBeUndefined();
  }
  for (const header of ['range', 'if-none-match']) expect(ask(url, { [header]: '*' })).toBeUndefined();
  expect([counts.opened, events]).toEqual([0, []]);
  const none = make({ heldBlobs: () => () => undefined });
  expect([none.ask(), none.ask(), none.events]).toEqual([undefined, undefined, []]);
  expect(none.counts.located).toBe(2);
});
