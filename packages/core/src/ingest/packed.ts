/** Memory that small chunks are put into. */
const blockBytes = 16 * 1024;

/** What is smaller takes more memory by being a chunk than by its bytes. */
const smallBytes = 4 * 1024;

/**
 * Copies small chunks next to each other into blocks and leaves others as they are: an upstream may send single bytes, each
 * of which would take a hundred as a chunk of its own. Consecutive ones are one again by {@link joined}.
 */
export function createPacker(): (chunk: Uint8Array) => Uint8Array {
  let room = new Uint8Array(0);
  return (chunk) => {
    if (chunk.byteLength >= smallBytes) return chunk;
    if (room.byteLength < chunk.byteLength) room = new Uint8Array(blockBytes);
    const packed = room.subarray(0, chunk.byteLength);
    packed.set(chunk);
    room = room.subarray(chunk.byteLength);
    return packed;
  };
}

/** The two as one, where the second follows the first in memory and they are no more than a block. */
export function joined(first: Uint8Array | undefined, second: Uint8Array): Uint8Array | undefined {
  if (!first || first.buffer !== second.buffer) return undefined;
  if (first.byteOffset + first.byteLength !== second.byteOffset) return undefined;
  const length = first.byteLength + second.byteLength;
  return length <= blockBytes ? new Uint8Array(first.buffer, first.byteOffset, length) : undefined;
}
