/** A file of an archive; `mode` defaults to 0o644. */
export interface TarEntry {
  path: string;
  bytes: Uint8Array;
  mode?: number;
}

const blockSize = 512;

/** A POSIX ustar archive of regular files, the same bytes for the same entries: no owner, no time. */
export function tarOf(entries: readonly TarEntry[]): Uint8Array {
  const blocks = entries.flatMap(({ path, bytes, mode = 0o644 }) => [
    headerOf(path, bytes.length, mode),
    bytes,
    Buffer.alloc((blockSize - (bytes.length % blockSize)) % blockSize),
  ]);
  // POSIX.1-2001, ustar: two zero blocks end an archive.
  return Buffer.concat([...blocks, Buffer.alloc(2 * blockSize)]);
}

function headerOf(path: string, size: number, mode: number): Uint8Array {
  const header = Buffer.alloc(blockSize);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;
  header.write(path, 0, 100);
  header.write(octal(mode, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(size, 11), 124);
  header.write(octal(0, 11), 136);
  header.write('        0', 148);
  header.write('ustar\x0000', 257);
  const checksum = header.reduce((sum, byte) => sum + byte, 0);
  header.write(`${octal(checksum, 6)} `, 148);
  return header;
}
