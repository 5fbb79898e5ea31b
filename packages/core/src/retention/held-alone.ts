import type { Graph } from './graph.ts';

/** What of a repository is to go: by number, as in its graph. */
export interface Roots {
  /** Tags, by their index. */
  tags: ReadonlySet<number>;
  /** Content that goes in any case. */
  content: number | undefined;
}

/**
 * What nothing of a repository holds but these. Where it is not known what something else needs, it is no more than what
 * was named.
 */
export function heldAlone(graph: Graph, { tags, content }: Roots): Set<number> {
  const named = content === undefined ? [] : [content];
  if (graph.isPartial || graph.lostTags.size > 0 || graph.unread.length > 0) return new Set(named);
  const roots = [...named, ...[...tags].flatMap((index) => (named.length > 0 ? [] : (graph.tags[index]?.holds ?? [])))];
  const going = reached(graph, roots);
  const others = graph.tags.flatMap(({ holds }, index) => (tags.has(index) ? [] : holds));
  for (const number of graph.needs.keys()) if (graph.needs[number] && !going.has(number)) others.push(number);
  const stays = reached(graph, others, content);
  return new Set([...going].filter((number) => number === content || !stays.has(number)));
}

/** @param but what is not entered */
function reached({ needs, keeps }: Graph, roots: readonly number[], but?: number): Set<number> {
  const seen = new Set<number>();
  const waiting = [...roots];
  for (let number = waiting.pop(); number !== undefined; number = waiting.pop()) {
    if (seen.has(number) || number === but) continue;
    seen.add(number);
    waiting.push(...(needs[number] ?? []), ...(keeps[number] ?? []));
  }
  return seen;
}
