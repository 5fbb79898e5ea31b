import type { Graph, TagNode } from './graph.ts';

/** What of a repository stays whatever its age. */
export interface KeptTags {
  /** Whether a tag stays. */
  keeps(tag: string): boolean;
  /** How many tags stay, those that were used last. */
  keepLast: number;
}

/** The last use of all there is in a repository, by whatever counts as one. `Infinity`: it is to stay. */
export interface LastUses {
  /** In the order of the graph's tags. */
  tags: readonly number[];
  /** By the number of the content. */
  content: readonly number[];
  /** Whether all was known that something needs that stays. */
  isKnown: boolean;
}

/** So much is done at a time. */
const perStep = 1_024;

/**
 * When all of a repository was last used: pure, in short steps. A tag is as young as its image, an image as young as its tags and as what it
 * alone needs; and nothing is older than what needs it, so that whatever age is taken for the limit, nothing that stays misses
 * anything. Where it is not known what something needs that stays, all of the repository stays.
 *
 * @param isOld whether what was last used then may go
 */
export function* lastUses(
  graph: Graph,
  kept: KeptTags,
  isOld: (usedAt: number) => boolean,
): Generator<void, LastUses, void> {
  const order = yield* needersFirst(graph);
  const content = [...graph.usedAt];
  yield* ageByWhatIsNeeded(graph, order, content);
  const tags = graph.tags.map(({ usedAt, holds: [value] }) => Math.max(usedAt, at(content, value)));
  const stay = tagsToKeep(graph.tags, tags, kept);
  for (const index of stay) tags[index] = Number.POSITIVE_INFINITY;
  for (const [index, { holds }] of graph.tags.entries()) {
    for (const number of holds) content[number] = Math.max(at(content, number), tags[index] as number);
  }
  yield* handDown(graph, order, content);
  const isLost = stay.some((index) => graph.lostTags.has(index));
  const isKnown = !graph.isPartial && !isLost && graph.unread.every((number) => isOld(at(content, number)));
  if (isKnown) return { tags, content, isKnown };
  const forever = Number.POSITIVE_INFINITY;
  return { tags: tags.fill(forever), content: content.fill(forever), isKnown };
}

const at = (content: readonly number[], number: number | undefined) =>
  number === undefined ? Number.NEGATIVE_INFINITY : (content[number] as number);

const below = ({ needs, keeps }: Graph, number: number): readonly number[] => {
  const [needed, kept] = [needs[number] ?? [], keeps[number] ?? []];
  return kept.length === 0 ? needed : [...needed, ...kept];
};

/** All that has something below it, each before what it has below. */
function* needersFirst(graph: Graph): Generator<void, number[], void> {
  const done: number[] = [];
  const seen = new Uint8Array(graph.usedAt.length);
  for (let first = 0; first < seen.length; first++) {
    if (first % perStep === 0) yield;
    if (seen[first]) continue;
    seen[first] = 1;
    const path = [{ number: first, next: 0 }];
    for (let top = path.at(-1); top; top = path.at(-1)) {
      const all = below(graph, top.number);
      const next = all[top.next++];
      if (next === undefined) {
        if (all.length > 0) done.push(top.number);
        path.pop();
      } else if (!seen[next]) {
        seen[next] = 1;
        path.push({ number: next, next: 0 });
      }
    }
  }
  return done.reverse();
}

/** The use of a layer that one image alone has is a use of the image; that of a layer of many says nothing of any of them. */
function* ageByWhatIsNeeded(
  { needs }: Graph,
  order: readonly number[],
  content: number[],
): Generator<void, void, void> {
  const needers = new Uint32Array(content.length);
  for (const [index, needer] of order.entries()) {
    if (index % perStep === 0) yield;
    for (const number of new Set(needs[needer])) needers[number] = (needers[number] as number) + 1;
  }
  for (let i = order.length - 1; i >= 0; i--) {
    if (i % perStep === 0) yield;
    const needer = order[i] as number;
    for (const number of needs[needer] ?? []) {
      if (needers[number] === 1) content[needer] = Math.max(at(content, needer), at(content, number));
    }
  }
}

function* handDown(graph: Graph, order: readonly number[], content: number[]): Generator<void, void, void> {
  // One round is enough, but for what shares a number with another.
  for (let changed = true; changed; ) {
    changed = false;
    for (const [index, needer] of order.entries()) {
      if (index % perStep === 0) yield;
      for (const number of below(graph, needer)) {
        if (at(content, number) >= at(content, needer)) continue;
        content[number] = at(content, needer);
        changed = true;
      }
    }
  }
}

function tagsToKeep(tags: readonly TagNode[], usedAt: readonly number[], { keeps, keepLast }: KeptTags): number[] {
  const kept = [...tags.keys()].filter((index) => keeps(tags[index]?.tag ?? ''));
  if (keepLast <= 0) return kept;
  const latestFirst = [...tags.keys()].sort((a, b) => (usedAt[b] as number) - (usedAt[a] as number));
  return [...kept, ...latestFirst.slice(0, keepLast)];
}
