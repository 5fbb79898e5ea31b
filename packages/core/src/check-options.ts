import { checkAccess } from './access/check-access.ts';
import { checkAdmission } from './admission/check-admission.ts';
import { checkGroups } from './group/check-groups.ts';
import { defaults, type PeersOptions, type ProxyCacheOptions } from './options.ts';
import { checkRetention } from './retention/retention-options.ts';
import { checkReference } from './roster/check-reference.ts';
import type { PersistUpstreamsOptions } from './roster/persist-upstreams-options.ts';
import { ProxyCacheError } from './runtime/errors.ts';
import {
  expectBoolean,
  expectClock,
  expectDuration,
  expectEach,
  expectFunction,
  expectKnown,
  expectMethod,
  expectObject,
  expectOneOf,
  expectUrl,
  expectWhole,
  invalidOption,
} from './runtime/expect-option.ts';
import type { Storage } from './store/storage.ts';
import { checkUpstream } from './upstream/check-upstream.ts';

// A record, so that a new option cannot be forgotten here.
const known: Readonly<Record<keyof ProxyCacheOptions, true>> = {
  upstreams: true,
  groups: true,
  storage: true,
  defaultUpstream: true,
  reservedKeys: true,
  observer: true,
  tracing: true,
  clock: true,
  memory: true,
  maxIngests: true,
  maxRequests: true,
  minFree: true,
  maxWaitingBytes: true,
  verifyOnRead: true,
  offload: true,
  threads: true,
  access: true,
  retention: true,
  catalog: true,
  publicContent: true,
  publicUrl: true,
  callerKey: true,
  peers: true,
  admission: true,
  persistUpstreams: true,
};

const storeMethods = {
  blobs: ['open', 'adopt', 'put', 'delete', 'quarantine', 'digests'],
  metadata: ['get', 'getMany', 'set', 'delete', 'list'],
} as const;

/**
 * Checks what a caller passed, also one without types.
 *
 * @throws ProxyCacheError `invalid-options`, naming the path, what was expected and what was received
 */
export function checkOptions(options: ProxyCacheOptions): void {
  expectObject('options', options);
  expectKnown('', options, Object.keys(known));
  const { upstreams, memory, clock } = options;
  if (!Array.isArray(upstreams) || (upstreams.length === 0 && options.persistUpstreams === undefined)) {
    throw invalidOption('upstreams', 'at least one upstream, such as dockerHub()', upstreams);
  }
  upstreams.forEach((upstream, index) => {
    checkUpstream(`upstreams[${index}]`, upstream, defaults.upstream);
    checkReference(`upstreams[${index}]`, upstream, options.persistUpstreams);
  });
  checkStorage(options.storage);
  const key = { is: 'a key such as "docker-hub"', test: (text: string) => text !== '' };
  expectEach('reservedKeys', options.reservedKeys, key);
  checkGroups(options.groups, {
    upstreams,
    reservedKeys: options.reservedKeys ?? [],
    mayGrow: options.persistUpstreams !== undefined,
  });
  if (memory !== undefined) {
    expectObject('memory', memory);
    expectKnown('memory', memory, ['manifests', 'blobs', 'buffers']);
    expectWhole('memory.manifests', memory.manifests);
    expectWhole('memory.blobs', memory.blobs);
    expectWhole('memory.buffers', memory.buffers);
  }
  expectClock('clock', clock);
  expectWhole('maxIngests', options.maxIngests, 1);
  expectWhole('maxRequests', options.maxRequests, 1);
  expectWhole('minFree', options.minFree);
  expectWhole('maxWaitingBytes', options.maxWaitingBytes);
  checkRetention(options.retention);
  checkLimits(options);
  expectOneOf('verifyOnRead', options.verifyOnRead, ['never', 'first']);
  expectOneOf('offload', options.offload, ['auto', 'off', 'hash', 'ingest']);
  expectWhole('threads', options.threads, 1);
  expectBoolean('catalog', options.catalog);
  expectBoolean('publicContent', options.publicContent);
  expectUrl('publicUrl', options.publicUrl);
  expectFunction('observer', options.observer);
  if (options.tracing !== undefined) {
    expectObject('tracing', options.tracing);
    expectMethod('tracing', options.tracing, 'span');
  }
  if (options.access !== undefined) checkAccess(options.access, options);
  if (options.callerKey !== undefined) expectSecret('callerKey', options.callerKey);
  if (options.admission !== undefined)
    checkAdmission(
      'admission',
      options.admission,
      options.persistUpstreams === undefined ? upstreams.map(({ key }) => key) : undefined,
    );
  if (options.persistUpstreams !== undefined) checkPersistUpstreams(options.persistUpstreams);
  if (options.peers !== undefined) checkPeers(options.peers, options.storage);
}

function checkPersistUpstreams(persist: PersistUpstreamsOptions): void {
  expectObject('persistUpstreams', persist);
  expectKnown('persistUpstreams', persist, ['encryptionKey', 'secretOf', 'refreshEvery']);
  const { encryptionKey, secretOf, refreshEvery } = persist;
  if (encryptionKey !== undefined) expectSecret('persistUpstreams.encryptionKey', encryptionKey);
  expectFunction('persistUpstreams.secretOf', secretOf);
  expectDuration('persistUpstreams.refreshEvery', refreshEvery, 100);
}

function checkLimits({ retention, upstreams }: ProxyCacheOptions): void {
  const limited = upstreams.findIndex(({ maxBytes }) => maxBytes !== undefined);
  if (retention !== false || limited < 0) return;
  throw invalidOption(`upstreams[${limited}].maxBytes`, 'none, as retention is false', upstreams[limited]?.maxBytes);
}

// RFC 2104 3: a key shorter than the hash's output is weaker than it.
const leastSecret = 32;

function checkPeers(peers: PeersOptions, { coordinator }: Storage): void {
  expectObject('peers', peers);
  expectKnown('peers', peers, ['url', 'secret']);
  const { url, secret } = peers;
  if (url === undefined) throw invalidOption('peers.url', 'an http(s) URL', url);
  expectUrl('peers.url', url);
  expectSecret('peers.secret', secret);
  if (coordinator === undefined)
    throw invalidOption('storage.coordinator', 'a coordinator, as peers is set', coordinator);
}

function expectSecret(path: string, secret: unknown): void {
  const isBytes =
    typeof secret === 'string' || (path === 'persistUpstreams.encryptionKey' && secret instanceof Uint8Array);
  const bytes = isBytes ? Buffer.byteLength(secret) : 0;
  if (bytes >= leastSecret) return;
  // Not shown: it may be one all the same.
  const message = `${path}: expected a text of at least ${leastSecret} bytes, received ${bytes} bytes`;
  throw new ProxyCacheError('invalid-options', message);
}

function checkStorage(storage: Storage): void {
  if (typeof storage === 'string') {
    throw invalidOption('storage', 'an object', storage, `; did you mean fileStorage(${JSON.stringify(storage)})?`);
  }
  expectObject('storage', storage);
  for (const part of ['blobs', 'metadata'] as const) {
    expectObject(`storage.${part}`, storage[part]);
    for (const name of storeMethods[part]) expectMethod(`storage.${part}`, storage[part], name);
  }
  const { spoolDirectory, coordinator } = storage;
  if (coordinator !== undefined) {
    expectObject('storage.coordinator', coordinator);
    for (const name of ['acquire', 'holder', 'publish', 'subscribe']) {
      expectMethod('storage.coordinator', coordinator, name);
    }
  }
  if (typeof spoolDirectory !== 'string' || spoolDirectory === '') {
    throw invalidOption('storage.spoolDirectory', 'a local folder', spoolDirectory);
  }
}
