import {
  type Coordinator,
  createProxyCache,
  fileStorage,
  localCoordinator,
  type ProxyCache,
  type Storage,
} from '@proxycache/core';
import { type FakeUpstream, gate, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';

let folder: string;
let corp: FakeUpstream;
let empty: FakeUpstream;
let hub: FakeUpstream;
let caches: ProxyCache[];

beforeEach(async () => {
  folder = makeTemporaryFolder('groups');
  caches = [];
  [corp, empty, hub] = await Promise.all([startFakeUpstream(), startFakeUpstream(), startFakeUpstream()]);
});
afterEach(async () => {
  await Promise.all(caches.map((cache) => cache.close({ graceMs: 0 })));
  await Promise.all([corp, empty, hub].map((upstream) => upstream.stop()));
  removeFolder(folder);
});

/** Opens when two processes are about to write an owner down, or one of them waits for the other. */
let both: { wants(): void; met: Promise<void> };

function meeting(): typeof both {
  let wanted = 0;
  let meet: () => void = () => undefined;
  const met = new Promise<void>((resolve) => {
    meet = resolve;
  });
  return { wants: () => void (++wanted === 2 && meet()), met };
}

/** A folder's conditions hold in each process alone: here each cache has its own. */
function ownStorage(): Storage {
  const storage = fileStorage(folder);
  const { metadata } = storage;
  const set: typeof metadata.set = async (key, value, options) => {
    if (!key.startsWith('pin/')) return metadata.set(key, value, options);
    const { ifVersion, ...unconditional } = options;
    if (await metadata.get(key, options)) return false;
    both.wants();
    await both.met;
    return metadata.set(key, value, unconditional);
  };
  return { ...storage, metadata: { ...metadata, set } };
}

/** What the processes agree by, which tells when one has to wait. */
function telling(): Coordinator {
  const coordinator = localCoordinator();
  return {
    ...coordinator,
    async acquire(key, options) {
      const lease = await coordinator.acquire(key, options);
      if (key.startsWith('groups/') && !lease) both.wants();
      return lease;
    },
  };
}

test('two processes that give a repository to different members at the same instant agree on one of them', async () => {
  both = meeting();
  const coordinator = telling();
  const own = corp.addImage('app', { tag: '1', seed: 'corp' });
  const open = hub.addImage('app', { tag: '1', seed: 'hub' });
  caches = [corp, empty].map(({ url }) =>
    createProxyCache({
      upstreams: [
        { key: 'corp', url },
        { key: 'hub', url: hub.url },
      ],
      groups: [{ key: 'all', upstreams: ['corp', 'hub'] }],
      storage: { ...ownStorage(), coordinator },
      minFree: 0,
    }),
  );
  const gates = [corp, hub].map((upstream) => {
    const held = gate();
    upstream.on({ method: 'HEAD', times: 1 }, { gate: held });
    return held;
  });
  const answers = Promise.all(
    caches.map(async (cache) => {
      const response = await cache.fetch(new Request('http://cache/v2/all/app/manifests/1'));
      await response.arrayBuffer();
      return response.headers.get('docker-content-digest');
    }),
  );
  await Promise.all(gates.map(({ reached }) => reached));
  for (const held of gates) held.open();
  const digests = await answers;
  const [owner] = await caches[0]!.groups.pins('all');
  const expected = owner?.upstream === 'corp' ? [own.root.digest, null] : [open.root.digest, open.root.digest];
  expect(digests).toEqual(expected);
});
