import { fromMember, type KeyLayout, lexRange, shards } from './key-layout.ts';
import type { Redis } from './redis.ts';
import { keepLiveScript, runScript } from './scripts.ts';

/** Which keys are listed. */
export interface Page {
  signal: AbortSignal;
  after?: string | undefined;
  limit: number;
  now: number;
}

/** Keys of a shard that were read and not given yet, as members of its index. */
type Shard = { shard: number; members: string[]; from: string; done: boolean };

/** More than an even share of the page, so that one question a shard is mostly enough. */
const chunkFor = (limit: number) => Math.min(Math.ceil((limit / shards) * 1.5) + 4, 1_000);

/** The keys of all shards that start with a prefix, in order. */
export async function listKeys(redis: Redis, layout: KeyLayout, prefix: string, page: Page): Promise<string[]> {
  const { from, to } = lexRange(prefix, page.after);
  const all: Shard[] = Array.from({ length: shards }, (_, shard) => ({ shard, members: [], from, done: false }));
  const found: string[] = [];
  while (found.length < page.limit) {
    // The next key is known only when each shard has shown its own.
    const empty = all.filter(({ members, done }) => members.length === 0 && !done);
    await Promise.all(empty.map((one) => readOn(redis, layout, one, { ...page, to })));
    const next = lowest(all);
    if (next === undefined) break;
    found.push(fromMember(next.members.shift() ?? ''));
  }
  return found;
}

function lowest(all: readonly Shard[]): Shard | undefined {
  let best: Shard | undefined;
  for (const one of all) {
    const [first] = one.members;
    if (first !== undefined && (best?.members[0] === undefined || first < best.members[0])) best = one;
  }
  return best;
}

/** Fills a shard with its next keys; what is listed and has expired is removed on the way. */
async function readOn(
  redis: Redis,
  layout: KeyLayout,
  one: Shard,
  { to, limit, now, signal }: Page & { to: string },
): Promise<void> {
  const index = layout.index(one.shard);
  const chunk = chunkFor(limit);
  while (one.members.length === 0 && !one.done) {
    const args = ['ZRANGEBYLEX', index, one.from, to, 'LIMIT', '0', String(chunk)];
    const members = (await redis.send(index, args, { signal })) as string[];
    const last = members.at(-1);
    one.done = last === undefined || members.length < chunk;
    if (last === undefined) return;
    one.from = `(${last}`;
    const records = members.map((member) => layout.record(fromMember(member)));
    const keep = { ...keepLiveScript, keys: [index, ...records], args: [String(now), ...members] };
    const live = (await runScript(redis, keep, { signal })) as number[];
    one.members.push(...members.filter((_, at) => live[at] === 1));
  }
}
