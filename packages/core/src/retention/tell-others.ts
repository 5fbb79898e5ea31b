import { type Digest, isDigest } from '../oci/digest.ts';
import type { Coordinator } from '../store/coordinator.ts';

/** Tells the other processes of a storage which manifests are gone: memory must not give what nothing else is left of. */
export interface Gone {
  /** One is gone; they are told of some at a time. Never rejects. */
  add(digest: Digest): Promise<void>;
  /** Tells of all so far. Never rejects. */
  flush(): Promise<void>;
  /** Listens no more. */
  close(): void;
}

const channel = 'retention/gone';
const together = 200;

/** @param forget called for each that another process tells of */
export function tellOthers(coordinator: Coordinator | undefined, forget: (digest: Digest) => void): Gone {
  let waiting: Digest[] = [];
  const stop = coordinator?.subscribe(channel, (message) => {
    for (const text of message.split(' ')) if (isDigest(text)) forget(text);
  });

  async function flush(): Promise<void> {
    const message = waiting.join(' ');
    waiting = [];
    // Those that are not told find their bytes gone when they read them, or serve them from memory until they let go of them.
    if (message !== '') await coordinator?.publish(channel, message).catch(() => undefined);
  }

  return {
    async add(digest) {
      if (!coordinator) return;
      waiting.push(digest);
      if (waiting.length >= together) await flush();
    },
    flush,
    close: () => stop?.(),
  };
}
