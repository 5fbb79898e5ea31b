import type { Bounded } from './http/bounded.ts';
import type { PullParts } from './pull/pull-parts.ts';
import type { TagTurns } from './pull/tag-turns.ts';
import type { Clock } from './runtime/clock.ts';
import { createDeferred } from './runtime/deferred.ts';

/** How a cache ends. */
export interface CloseOptions {
  /**
   * Ms for what runs to end by itself, and for what it has yet to fetch; then it is cut off: bodies break off, and nothing
   * uses the stores any more when `close` has resolved, where they take what is left within 3 s. Default 10,000.
   */
  graceMs?: number;
  /**
   * Transfers whose clients have left: `finish` lets them fill the cache within the grace time, `drop` ends them with the
   * last running answer. Default `finish`.
   */
  ingests?: 'finish' | 'drop';
}

/** What is closed. */
export interface ClosedParts {
  clock: Clock;
  pulls: PullParts;
  turns: TagTurns | undefined;
  answers: Bounded;
  prefetch: { close(): Promise<void> };
  admission: { settled(): Promise<void> } | undefined;
  scrubs: { close(): Promise<void> };
  sweeps: { close(): Promise<void> };
  warms: { close(): Promise<void> };
  exports: { close(): Promise<void> };
  imports: { close(): Promise<void> };
  groups: { close(): void };
  quota: { close(): Promise<void> };
  roster: { close(): Promise<void> };
  /** The memory of what runs. */
  memory: readonly { close(): void }[];
  /** Of upstreams that there are and were. */
  clients(): Iterable<{ close(): Promise<void> }>;
  uploads: { close(graceMs: number): Promise<void> };
  /** Of the stores. Never rejects. */
  upkeep(): Promise<void>;
  spool: { close(): void };
  threads: { close(): Promise<void> };
}

// For a store that does not come back: the deadline of a call to it.
const letGoWithin = 3_000;

/** Ends a cache: see {@link CloseOptions}. No request may come in any more. */
export async function closeCache(
  parts: ClosedParts,
  { graceMs = 10_000, ingests = 'finish' }: CloseOptions,
): Promise<void> {
  const { clock, pulls, answers } = parts;
  const endsAt = clock.monotonic() + graceMs;
  const ended = [parts.scrubs, parts.sweeps, parts.quota, parts.warms, parts.exports, parts.imports, parts.roster];
  const scrubbed = Promise.all(ended.map((work) => work.close()));
  parts.groups.close();
  const prefetched = parts.prefetch.close();
  // What runs may still need a transfer: none is refused before.
  await within(clock, graceMs, answers.idle());
  const transferred = pulls.ingests.close(ingests === 'drop' ? 0 : Math.max(endsAt - clock.monotonic(), 0));
  // A chunk of a body that is cut off may still be on its way into a socket: nobody may fill its memory anew.
  for (const pool of parts.memory) pool.close();
  const answered = answers.cutOff();
  await transferred;
  await Promise.all([...parts.clients()].map((client) => client.close()));
  // What came of the last questions, which nobody may wait for any more, is yet to be written down.
  const written = pulls.asking.ended().then(() => pulls.manifests.settled());
  await within(clock, letGoWithin, answered);
  await within(clock, Math.max(endsAt - clock.monotonic(), letGoWithin), written);
  await Promise.all([scrubbed, prefetched, pulls.checks.close()]);
  await pulls.blobs.close();
  await parts.uploads.close(Math.max(endsAt - clock.monotonic(), 0));
  const { tags, links, referrers, repositories, usage } = pulls;
  await Promise.all([tags, links, referrers, repositories, usage].map((records) => records.settled()));
  await parts.admission?.settled();
  await parts.turns?.settled();
  await within(clock, letGoWithin, parts.upkeep());
  parts.spool.close();
  await parts.threads.close();
}

async function within(clock: Clock, ms: number, work: Promise<void>): Promise<void> {
  const timeIsUp = createDeferred<void>();
  const cancel = clock.after(ms, () => timeIsUp.resolve());
  await Promise.race([work, timeIsUp.promise]);
  cancel();
}
