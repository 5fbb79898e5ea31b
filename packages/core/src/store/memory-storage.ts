import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { storageFailure } from './file-system.ts';
import { createMemoryBlobs } from './memory-blobs.ts';
import { createMemoryMetadata } from './memory-metadata.ts';
import type { Storage } from './storage.ts';

/**
 * A storage in this process's memory, without a bound, for tests and short lives. Transfers under way are files all the
 * same: a new folder below the system's temporary one is made for them at once.
 *
 * @param options.clock default: the machine's clock
 * @throws ProxyCacheError `storage-failed` when that folder cannot be made
 */
export function memoryStorage(options: { clock?: Clock } = {}): Storage {
  const { clock = systemClock } = options;
  return {
    blobs: createMemoryBlobs(clock),
    metadata: createMemoryMetadata(clock),
    spoolDirectory: makeSpoolDirectory(),
  };
}

function makeSpoolDirectory(): string {
  try {
    return mkdtempSync(join(tmpdir(), 'proxycache-spool-'));
  } catch (error) {
    throw storageFailure(`make a folder in ${tmpdir()}`, error);
  }
}
