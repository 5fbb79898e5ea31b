import { readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';

/** Changes a file as a disk that rots does: its time stays. */
export function keepingTime(file: string, change: () => void): void {
  const { atimeMs, mtimeMs } = statSync(file);
  change();
  utimesSync(file, atimeMs / 1000, mtimeMs / 1000);
}

/** Changes one byte of a file, the last one by default. */
export function flipByte(file: string, at = statSync(file).size - 1): void {
  keepingTime(file, () => {
    const bytes = readFileSync(file);
    bytes[at]! ^= 1;
    writeFileSync(file, bytes);
  });
}
