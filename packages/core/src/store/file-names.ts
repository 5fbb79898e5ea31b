import { opendir } from 'node:fs/promises';

/** Of a name in a folder, what it is sorted by; `undefined`: it is none of ours. */
export type NameKey = (name: string) => string | undefined;

/**
 * The names in a folder with the smallest keys after `after`, at most `limit`, ascending by key. One pass in bounded
 * memory, however many names there are. Names that come and go meanwhile may be missed.
 */
export async function smallestNames(
  folder: string,
  options: { keyOf: NameKey; after: string | undefined; limit: number; signal: AbortSignal },
): Promise<readonly { key: string; name: string }[]> {
  const { keyOf, after, limit, signal } = options;
  signal.throwIfAborted();
  let found: { key: string; name: string }[] = [];
  let bound: string | undefined;
  const cut = () => {
    found.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    found = found.slice(0, limit);
    if (found.length === limit) bound = found.at(-1)?.key;
  };
  for await (const entry of await opendir(folder, { bufferSize: 512 })) {
    signal.throwIfAborted();
    const key = keyOf(entry.name);
    if (key === undefined || (after !== undefined && key <= after) || (bound !== undefined && key > bound)) continue;
    found.push({ key, name: entry.name });
    if (found.length >= limit * 2) cut();
  }
  cut();
  return found;
}
