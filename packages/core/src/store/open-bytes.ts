import { ProxyCacheError } from '../runtime/errors.ts';
import type { OpenBlob } from './blob-store.ts';

/** Bytes that are in memory, as an open blob. @param closed called once, when it is closed */
export function openBytes(bytes: Uint8Array, closed: () => void = () => undefined): OpenBlob & { kind: 'file' } {
  let isClosed = false;
  return {
    kind: 'file',
    size: bytes.byteLength,
    async read(into, position) {
      if (isClosed) throw new ProxyCacheError('storage-failed', 'could not read a blob that was closed');
      const part = bytes.subarray(position, position + into.byteLength);
      into.set(part);
      return part.byteLength;
    },
    async close() {
      if (!isClosed) closed();
      isClosed = true;
    },
  };
}
