import type { SpoolFile } from './spool-file.ts';

// Read at a time: a turn of the event loop hashes it.
const windowBytes = 256 * 1024;

/**
 * All that was appended to a file by now, read back from it. A chunk is the reader's until the next one.
 *
 * @throws the signal's reason, and what the file throws
 */
export async function* appendedBytes(
  file: SpoolFile,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  await file.flush();
  const end = file.written;
  const window = Buffer.allocUnsafeSlow(windowBytes);
  for (let at = 0; at < end; ) {
    signal?.throwIfAborted();
    const count = await file.read(window.subarray(0, end - at), at);
    if (count === 0) throw new Error(`the spool file ends at byte ${at}, expected ${end}`);
    yield window.subarray(0, count);
    at += count;
  }
}
