import { closeFile, openFile, readAt, removeFile, syncToDisk, writeAll } from './file-system.ts';
import type { TempFolder } from './file-temp.ts';

const chunkBytes = 1024 * 1024;

/** Copies a file of any size into the temp folder, for moves between file systems. @returns the copy's path */
export async function copyToTemp(
  from: string,
  options: { temp: Pick<TempFolder, 'path'>; durable: boolean; signal: AbortSignal },
): Promise<string> {
  const to = options.temp.path();
  const source = await openFile(from, 'r');
  try {
    const target = await openFile(to, 'wx', 0o600);
    try {
      await copyBytes(source, target, options.signal);
    } finally {
      await closeFile(target);
    }
    if (options.durable) await syncToDisk(to);
    return to;
  } catch (error) {
    await removeFile(to).catch(() => undefined);
    throw error;
  } finally {
    await closeFile(source);
  }
}

async function copyBytes(source: number, target: number, signal: AbortSignal): Promise<void> {
  const chunk = Buffer.allocUnsafeSlow(chunkBytes);
  for (let position = 0; ; ) {
    signal.throwIfAborted();
    const length = await readAt(source, chunk, position);
    if (length === 0) return;
    await writeAll(target, chunk.subarray(0, length));
    position += length;
  }
}
