import type { Entry } from './entry.ts';

/** What a key's entry is to be, by what is written of it; `undefined`: nothing. What it throws ends the change. */
export type Change = (written: Entry | undefined) => Entry;

/** What is written of a key. */
export interface Written {
  entry: Entry;
  /** The same for the same writing. */
  text: string;
}

/** Where changes of upstreams are written down. */
export interface Book {
  /** Writes what `change` makes of what is written; it may be asked again, where another process was quicker. */
  change(key: string, change: Change): Promise<Entry>;
}

/** What was changed goes with the process. */
export function memoryBook(): Book {
  const entries = new Map<string, Entry>();
  return {
    async change(key, change) {
      const entry = change(entries.get(key));
      entries.set(key, entry);
      return entry;
    },
  };
}
