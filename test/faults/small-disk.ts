import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A real file system of its own, that can be full and read-only. */
export interface SmallDisk {
  readonly directory: string;
  /** Leaves room for nothing more. */
  fill(): void;
  /** Takes away what {@link SmallDisk.fill} put there. */
  free(): void;
  /** Nobody may write any more, or again. Only while no file is open for writing. */
  readOnly(on: boolean): void;
  usedBytes(): number;
}

/** Mounts a small disk that ends with the test; needs root, see `requireMount`. */
export function smallDisk(mebibytes: number): SmallDisk {
  const directory = mkdtempSync(join(tmpdir(), 'proxycache-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'proxycache-test', directory]);
  onTestFinished(() => {
    execFileSync('umount', [directory]);
    rmdirSync(directory);
  });
  const filler = join(directory, 'filler');
  return {
    directory,
    fill() {
      const file = openSync(filler, 'a');
      for (let bytes = 1024 * 1024; bytes >= 1; bytes = Math.floor(bytes / 256)) {
        try {
          for (;;) writeSync(file, Buffer.alloc(bytes));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        }
      }
      closeSync(file);
    },
    free: () => rmSync(filler),
    readOnly(on) {
      execFileSync('mount', ['-o', `remount,${on ? 'ro' : 'rw'}`, directory]);
    },
    usedBytes() {
      const { blocks, bfree, bsize } = statfsSync(directory);
      return (blocks - bfree) * bsize;
    },
  };
}
