import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { expectClock, expectKnown, expectObject } from '../runtime/expect-option.ts';
import { storageFailure } from './file-system.ts';
import { createMemoryBlobs } from './memory-blobs.ts';
import { createMemoryMetadata } from './memory-metadata.ts';
import type { Storage } from './storage.ts';

/**
 * A storage in this process's memory, without a bound, for tests and short lives. Transfers under way are files all the
 * same: a new folder below the system's temporary one is made for them at once, and removed when the process exits.
 *
 * @param options.clock default: the machine's clock
 * @throws ProxyCacheError `invalid-options`; `storage-failed` when that folder cannot be made
 */
export function memoryStorage(options: { clock?: Clock } = {}): Storage {
  expectObject('memoryStorage: options', options);
  expectKnown('memoryStorage: options', options, ['clock']);
  expectClock('memoryStorage: clock', options.clock);
  const { clock = systemClock } = options;
  return {
    blobs: createMemoryBlobs(clock),
    metadata: createMemoryMetadata(clock),
    spoolDirectory: makeSpoolDirectory(),
  };
}

const made: string[] = [];

function makeSpoolDirectory(): string {
  try {
    const folder = mkdtempSync(join(tmpdir(), 'proxycache-spool-'));
    // What is of this process's memory is of no use to another.
    if (made.push(folder) === 1) process.once('exit', removeMade);
    return folder;
  } catch (error) {
    throw storageFailure(`make a folder in ${tmpdir()}`, error);
  }
}

function removeMade(): void {
  for (const folder of made) {
    try {
      rmSync(folder, { recursive: true, force: true });
    } catch {
      // It is a temporary folder: the system's to remove now.
    }
  }
}
