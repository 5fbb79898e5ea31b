/** From here on to copy a string, to the end of a head and into the socket, costs more than a piece more. */
const longestText = 4 * 1024;

/** Of all together: what is sent again and again is little. */
const mostKeptBytes = 4 * 1024 * 1024;

const texts = new Map<Uint8Array, string>();
let keptBytes = 0;

/**
 * Keeps bytes as a string as well, where they are few enough to be sent so; the ones that were kept first make way.
 *
 * @param bytes that nobody writes to any more
 */
export function keepText(bytes: Buffer): void {
  if (bytes.byteLength > longestText || texts.has(bytes)) return;
  texts.set(bytes, bytes.toString('latin1'));
  keptBytes += bytes.byteLength;
  for (const oldest of texts.keys()) {
    if (keptBytes <= mostKeptBytes) return;
    texts.delete(oldest);
    keptBytes -= oldest.byteLength;
  }
}

/**
 * The bytes of a body as a string, a character (Latin-1) for each, where the cache keeps it so: Node sends a head and a string
 * in one piece, a head and bytes in several. `undefined`: it does not.
 */
export function textOf(bytes: Uint8Array): string | undefined {
  return texts.get(bytes);
}
