import { opendir } from 'node:fs/promises';
import { turn } from '../runtime/turn.ts';

/** Of a name in a folder, what it is sorted by; `undefined`: it is none of ours. */
type NameKey = (name: string) => string | undefined;

interface FolderName {
  key: string;
  name: string;
}

/** Whoever waits for a listing now; another page may be another caller's. */
export interface Reading {
  signal: AbortSignal;
}

/** How many names are held at a time, about 16 MiB of them: a folder of a million is read sixteen times. */
const mostHeld = 65_536;

/** How many names are sorted or merged in one turn of the event loop, in about 1 ms. */
const perTurn = 2_048;

/** How much longer a sorted run is than the next one. The larger, the less is held beyond what is wanted. */
const runRatio = 8;

/**
 * The names in a folder with a key after `after`, ascending by key, in bounded memory however many names there are.
 * Names that come and go meanwhile may be missed.
 *
 * @throws what the system says; the reason of the signal
 */
export async function* sortedNames(
  folder: string,
  options: { keyOf: NameKey; after: string | undefined; reading: Reading; most?: number },
): AsyncGenerator<FolderName, void, undefined> {
  const { most = mostHeld } = options;
  let { after } = options;
  for (;;) {
    const names = await smallestNames(folder, { ...options, after, most });
    yield* names;
    after = names.at(-1)?.key;
    if (names.length < most) return;
  }
}

/** The names with the smallest keys, at most `most`, in one pass over the folder. */
async function smallestNames(
  folder: string,
  options: { keyOf: NameKey; after: string | undefined; reading: Reading; most: number },
): Promise<FolderName[]> {
  const { keyOf, after, reading, most } = options;
  reading.signal.throwIfAborted();
  const runs: FolderName[][] = [];
  let unsorted: FolderName[] = [];
  let bound: string | undefined;

  async function keep(ratio: number): Promise<void> {
    runs.push(unsorted.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)));
    unsorted = [];
    for (;;) {
      const [longer, run] = runs.slice(-2);
      if (!longer || !run || longer.length >= run.length * ratio) return;
      const merged = await merge(longer, run, most);
      runs.splice(-2, 2, merged);
      if (merged.length === most) bound = merged.at(-1)?.key;
    }
  }

  for await (const { name } of await opendir(folder, { bufferSize: 512 })) {
    reading.signal.throwIfAborted();
    const key = keyOf(name);
    if (key === undefined || (after !== undefined && key <= after) || (bound !== undefined && key > bound)) continue;
    unsorted.push({ key, name });
    if (unsorted.length === perTurn) await keep(runRatio);
  }
  await keep(Number.POSITIVE_INFINITY);
  return runs[0]?.slice(0, most) ?? [];
}

async function merge(left: readonly FolderName[], right: readonly FolderName[], most: number): Promise<FolderName[]> {
  const merged: FolderName[] = [];
  for (let l = 0, r = 0; merged.length < most; ) {
    const [a, b] = [left[l], right[r]];
    if (a !== undefined && (b === undefined || a.key <= b.key)) {
      merged.push(a);
      l++;
    } else if (b !== undefined) {
      merged.push(b);
      r++;
    } else break;
    if (merged.length % perTurn === 0) await turn();
  }
  return merged;
}
