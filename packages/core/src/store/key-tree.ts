import { randomBytes } from 'node:crypto';

/**
 * A document of the key index, which is a B+ tree: leaves hold keys, branches say from which key on each child holds
 * them. A child's keys end where the next one's begin: what it has beyond is a leftover of a split and is ignored.
 */
export type TreeNode = { kind: 'leaf'; keys: readonly string[] } | { kind: 'branch'; children: readonly Child[] };

interface Child {
  from: string;
  id: string;
}

/** Keys from `from` on and before `until`. */
interface Bounds {
  from: string;
  until: string | undefined;
}

/** A key that is to be in the tree, or not. Each key once, ascending. */
export interface KeyChange {
  key: string;
  present: boolean;
}

/** Documents to write: `fresh` ones in any order, then `rewritten` ones in theirs, then `dropped` ones may go. */
export interface TreePlan {
  fresh: { id: string; node: TreeNode }[];
  rewritten: { id: string; node: TreeNode }[];
  dropped: string[];
}

/** Reads a document; a missing one is an empty leaf. */
export type ReadNode = (id: string) => Promise<TreeNode>;

/** The document that every way begins at. */
const rootId = 'root';

/** A longer document is split. What is rewritten per new key stays some 20 KiB, and a million keys are three deep. */
const longestNode = 256;

interface Outcome {
  /** The new content of the document, where it changed. */
  node?: TreeNode;
  /** New documents for what it had no room for. */
  right: Child[];
  /** Rewrites of documents below it: to be done after its own. */
  below: TreePlan['rewritten'];
}

/**
 * What to write so that the tree has the changes. Done in the plan's order, every key that was and stays in the tree is
 * found at each step, also by a process that starts after a crash in between.
 */
export async function planChanges(read: ReadNode, changes: readonly KeyChange[]): Promise<TreePlan> {
  const fresh: TreePlan['fresh'] = [];
  const dropped: string[] = [];

  const addFresh = (node: TreeNode, from: string): Child => {
    const id = randomBytes(9).toString('base64url');
    fresh.push({ id, node });
    return { id, from };
  };

  async function change(node: TreeNode, bounds: Bounds, asked: readonly KeyChange[]): Promise<Outcome> {
    return node.kind === 'leaf'
      ? changeLeaf(node.keys, bounds, asked)
      : await changeBranch(node.children, bounds, asked);
  }

  function changeLeaf(stored: readonly string[], bounds: Bounds, asked: readonly KeyChange[]): Outcome {
    const keys = new Set(stored.filter((key) => isBefore(key, bounds.until)));
    const effective = asked.filter(({ key, present }) => keys.has(key) !== present);
    if (effective.length === 0) return { right: [], below: [] };
    for (const { key, present } of effective) {
      if (present) keys.add(key);
      else keys.delete(key);
    }
    const [first = [], ...rest] = split([...keys].sort());
    const right = rest.map((part) => addFresh({ kind: 'leaf', keys: part }, part[0] ?? ''));
    return { node: { kind: 'leaf', keys: first }, right, below: [] };
  }

  async function changeBranch(stored: readonly Child[], bounds: Bounds, asked: readonly KeyChange[]): Promise<Outcome> {
    const children = stored.filter(({ from }, at) => at === 0 || isBefore(from, bounds.until));
    const below: TreePlan['rewritten'] = [];
    const parts = await Promise.all(
      children.map(async (child, at): Promise<Child[]> => {
        const inside = boundsOf(children, at, bounds);
        const own = asked.filter(({ key }) => (at === 0 || key >= inside.from) && isBefore(key, inside.until));
        if (own.length === 0) return [child];
        const outcome = await change(await read(child.id), inside, own);
        const kept = { from: inside.from, id: child.id };
        if (outcome.node && isEmpty(outcome.node)) {
          dropped.push(child.id);
          return outcome.right;
        }
        if (outcome.node) below.push({ id: child.id, node: outcome.node });
        below.push(...outcome.below);
        return [kept, ...outcome.right];
      }),
    );
    const [first, ...others] = parts.flat();
    if (!first) return { node: { kind: 'leaf', keys: [] }, right: [], below };
    if (parts.every((part, at) => part.length === 1 && part[0]?.id === children[at]?.id)) return { right: [], below };
    // The first child holds all from where its parent begins, whoever held that before it.
    const [mine = [], ...rest] = split([{ id: first.id, from: bounds.from }, ...others]);
    const right = rest.map((part) => addFresh({ kind: 'branch', children: part }, part[0]?.from ?? ''));
    return { node: { kind: 'branch', children: mine }, right, below };
  }

  const { node, right, below } = await change(await read(rootId), { from: '', until: undefined }, changes);
  if (!node) return { fresh, rewritten: below, dropped };
  const root: TreeNode = right.length === 0 ? node : { kind: 'branch', children: [addFresh(node, ''), ...right] };
  return { fresh, rewritten: [{ id: rootId, node: root }, ...below], dropped };
}

/** The keys after `after` that start with `prefix`, ascending, at most `limit`. */
export async function keysAfter(
  read: ReadNode,
  options: { after: string; prefix: string; limit: number },
): Promise<string[]> {
  const { after, prefix, limit } = options;
  const keys: string[] = [];

  /** @returns whether there may be more to the right */
  async function scan(id: string, bounds: Bounds): Promise<boolean> {
    const node = await read(id);
    if (node.kind === 'leaf') {
      for (const key of node.keys) {
        if (key <= after || !isBefore(key, bounds.until)) continue;
        if (!key.startsWith(prefix)) return false;
        keys.push(key);
        if (keys.length === limit) return false;
      }
      return true;
    }
    const children = node.children.filter(({ from }, at) => at === 0 || isBefore(from, bounds.until));
    for (const [at, child] of children.entries()) {
      const inside = boundsOf(children, at, bounds);
      if (inside.until !== undefined && inside.until <= after) continue;
      if (!(await scan(child.id, inside))) return false;
    }
    return true;
  }

  await scan(rootId, { from: '', until: undefined });
  return keys;
}

const isBefore = (key: string, until: string | undefined) => until === undefined || key < until;

const isEmpty = (node: TreeNode) => node.kind === 'leaf' && node.keys.length === 0;

function boundsOf(children: readonly Child[], at: number, parent: Bounds): Bounds {
  return {
    from: at === 0 ? parent.from : (children[at]?.from ?? parent.from),
    until: children[at + 1]?.from ?? parent.until,
  };
}

/** Parts of equal length, as few as hold everything. */
function split<T>(items: readonly T[]): T[][] {
  const parts = Math.max(Math.ceil(items.length / longestNode), 1);
  const size = Math.max(Math.ceil(items.length / parts), 1);
  return Array.from({ length: parts }, (_, at) => items.slice(at * size, (at + 1) * size)).filter(
    (part, at) => at === 0 || part.length > 0,
  );
}
