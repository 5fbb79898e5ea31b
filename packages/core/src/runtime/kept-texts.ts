/** From here on to copy a string, to the end of a head and into the socket, costs more than a piece more. */
export const longestText: number = 4 * 1024;

// For as long as the bytes are there, and counted where those are.
const texts = new WeakMap<Uint8Array, string>();

/**
 * Keeps bytes as a string as well, where they are few enough to be sent so.
 *
 * @param bytes that nobody writes to any more
 */
export function keepText(bytes: Buffer): void {
  if (bytes.byteLength <= longestText && !texts.has(bytes)) texts.set(bytes, bytes.toString('latin1'));
}

/**
 * The bytes of a body as a string, a character (Latin-1) for each, where the cache keeps it so: Node sends a head and a string
 * in one piece, a head and bytes in several. `undefined`: it does not.
 */
export function textOf(bytes: Uint8Array): string | undefined {
  return texts.get(bytes);
}
