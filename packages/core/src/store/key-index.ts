import { ProxyCacheError } from '../runtime/errors.ts';
import { type KeyChange, keysAfter, planChanges, type ReadNode, type TreeNode } from './key-tree.ts';
import { keyOrder } from './metadata-key.ts';
import type { MetadataStore } from './metadata-store.ts';

/** Where the index keeps its documents: texts by id. */
export interface IndexDocuments {
  read(id: string): Promise<string | undefined>;
  write(id: string, text: string): Promise<void>;
  remove(id: string): Promise<void>;
}

/** The keys of a store that cannot list its own. Of two changes to one key the second waits for the first. */
export interface KeyIndex {
  /** Done when the key will be listed. */
  add(key: string): Promise<void>;
  remove(key: string): Promise<void>;
  list: MetadataStore['list'];
}

/** Raised when an older version could misread the documents. */
const indexFormat = '1';

/** Changes written in one go, and keys read in one. */
const batchSize = 512;

type Waiting = KeyChange & { done: () => void; failed: (error: unknown) => void };

/**
 * An index in documents of bounded length, so that a new key among a hundred thousand rewrites one small document.
 * Changes that come while others are written are written together. One process at a time may use the documents: two
 * would overwrite each other's additions.
 */
export function createKeyIndex(documents: IndexDocuments): KeyIndex {
  const queue: Waiting[] = [];
  let tail: Promise<unknown> = Promise.resolve();

  const read: ReadNode = async (id) => {
    const text = await documents.read(id);
    // A document that the Keyv lost takes its keys from the listing, but must not stop what is set from now on.
    return text === undefined ? { kind: 'leaf', keys: [] } : decode(id, text);
  };

  /** Reading meanwhile could meet a document before and its sibling after a split, and miss what moved. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = tail.then(work);
    tail = result.catch(() => undefined);
    return result;
  }

  async function flush(): Promise<void> {
    const batch = queue.splice(0, batchSize);
    if (batch.length === 0) return;
    try {
      await write(batch);
      for (const { done } of batch) done();
    } catch (error) {
      for (const { failed } of batch) failed(error);
    }
  }

  async function write(batch: readonly KeyChange[]): Promise<void> {
    const changes = batch.map(({ key, present }) => ({ key, present })).sort((a, b) => (a.key < b.key ? -1 : 1));
    const { fresh, rewritten, dropped } = await planChanges(read, changes);
    await Promise.all(fresh.map(({ id, node }) => documents.write(id, encode(node))));
    for (const { id, node } of rewritten) await documents.write(id, encode(node));
    await Promise.all(dropped.map((id) => documents.remove(id)));
  }

  function change(key: string, present: boolean): Promise<void> {
    return new Promise((done, failed) => {
      queue.push({ key: keyOrder(key), present, done, failed });
      void inTurn(flush);
    });
  }

  return {
    add: (key) => change(key, true),
    remove: (key) => change(key, false),
    async list(prefix, { after, limit, signal }) {
      const keys: string[] = [];
      let last = keyOrder(prefix);
      if (after !== undefined && keyOrder(after) > last) last = keyOrder(after);
      while (keys.length < limit) {
        signal.throwIfAborted();
        const wanted = Math.min(limit - keys.length, batchSize);
        const page = { after: last, prefix: keyOrder(prefix), limit: wanted };
        const found = await inTurn(() => keysAfter(read, page));
        keys.push(...found.map((key) => key.replaceAll('\0', '/')));
        if (found.length < wanted) break;
        last = found.at(-1) ?? last;
      }
      return keys;
    },
  };
}

// One line that says format and kind, then one per key; of a branch, `<id> <key>`. Keys have neither spaces nor breaks.
function encode(node: TreeNode): string {
  const lines = node.kind === 'leaf' ? node.keys : node.children.map(({ id, from }) => `${id} ${from}`);
  return [`${indexFormat} ${node.kind}`, ...lines].join('\n').replaceAll('\0', '/');
}

function decode(id: string, text: string): TreeNode {
  const [head = '', ...lines] = text.replaceAll('/', '\0').split('\n');
  const [format, kind] = head.split(' ');
  if (format !== indexFormat) {
    const [code, what] = /^\d+$/.test(format ?? '')
      ? ([
          'storage-format',
          `has format ${format}, this version of proxycache reads ${indexFormat}: upgrade it`,
        ] as const)
      : (['storage-failed', 'is damaged; empty the Keyv to begin anew'] as const);
    throw new ProxyCacheError(code, `the index document ${id} ${what}`);
  }
  if (kind === 'leaf') return { kind, keys: lines };
  const children = lines.map((line) => {
    const space = line.indexOf(' ');
    return { id: line.slice(0, space), from: line.slice(space + 1) };
  });
  return { kind: 'branch', children };
}
