import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { StoreOperation, Trouble } from '@proxycache/test-kit';
import { filesIn } from './disk.ts';
import { createHealth, type Health } from './health.ts';
import type { Random } from './random.ts';
import type { Stand } from './stand.ts';

/** The trouble that a run makes for the store. Each answers what it did, for the log. */
export interface StoreTrouble extends Health {
  /** Makes an operation fail or hang. */
  start(): string;
  heal(): string;
  /** Takes a stored blob away, or its bytes. Answers its digest, too. */
  damage(): Damage;
  /** Makes a byte of a stored blob another one. */
  flip(): Damage;
}

/** What was done, and to which blob. */
interface Damage {
  what: string;
  digest: string | undefined;
}

const operations: readonly StoreOperation[] = [
  'blobs.open',
  'blobs.read',
  'blobs.adopt',
  'blobs.put',
  'metadata.get',
  'metadata.getMany',
  'metadata.set',
  'metadata.delete',
  'metadata.list',
];

export function createStoreTrouble(stand: Stand, random: Random): StoreTrouble {
  const health = createHealth(stand.seq);
  const nothing: Damage = { what: 'nothing to damage', digest: undefined };
  function pickBlob(): string | undefined {
    const files = filesIn(stand.directory, 'blobs');
    return files.length === 0 ? undefined : random.pick(files);
  }
  return {
    ...health,
    get isIll() {
      return health.isIll;
    },
    start() {
      health.ill();
      const operation = random.pick(operations);
      const trouble: Trouble = random.chance(0.6)
        ? { fail: 'no such luck' }
        : { hang: random.chance(0.5) ? 'deaf' : true };
      const times = random.chance(0.7) ? random.between(1, 8) : undefined;
      stand.storage.on(operation, { ...trouble, ...(times !== undefined && { times }) });
      return `store ${operation} ${JSON.stringify(trouble)} x ${times ?? 'all'}`;
    },
    heal() {
      stand.storage.heal();
      return 'heal store';
    },
    flip() {
      const file = pickBlob();
      const bytes = file === undefined ? Buffer.alloc(0) : readFileSync(file);
      if (file === undefined || bytes.byteLength === 0) return nothing;
      const at = random.int(bytes.byteLength);
      bytes[at] = (bytes[at] ?? 0) ^ 0x10;
      writeFileSync(file, bytes);
      return { what: `byte ${at} of ${basename(file)}`, digest: `sha256:${basename(file)}` };
    },
    damage() {
      const file = pickBlob();
      if (file === undefined) return nothing;
      const gone = random.chance(0.6);
      if (gone) rmSync(file);
      else truncateSync(file, 0);
      return { what: `${gone ? 'remove' : 'empty'} ${basename(file)}`, digest: `sha256:${basename(file)}` };
    },
  };
}
