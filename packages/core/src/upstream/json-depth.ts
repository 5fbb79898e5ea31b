// What registries send is a handful of levels deep.
const deepest = 64;

const quote = 0x22;
const backslash = 0x5c;
const opening: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const closing: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/**
 * Whether JSON text nests deeper than anything a registry sends (RFC 8259 9: a limit of our own). Whoever walks such a
 * value by recursion, as `JSON.stringify` does, would run out of stack.
 */
export function isTooDeep(json: Uint8Array): boolean {
  let depth = 0;
  let inText = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at] ?? 0;
    if (byte === quote) inText = !inText;
    else if (inText) {
      if (byte === backslash) at++;
    } else if (opening.has(byte)) {
      if (++depth > deepest) return true;
    } else if (closing.has(byte)) depth--;
  }
  return false;
}
