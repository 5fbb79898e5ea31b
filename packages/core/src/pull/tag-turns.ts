import { keyOf } from '../catalog/keys.ts';
import type { Fence } from '../catalog/record-changes.ts';
import type { TagRecord } from '../catalog/tag-records.ts';
import { decide } from '../freshness/decide.ts';
import { latestInstant } from '../freshness/record.ts';
import { lastWord, type Verdict } from '../freshness/settle.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Clock } from '../runtime/clock.ts';
import { orLate } from '../runtime/or-late.ts';
import type { Coordinator, Lease } from '../store/coordinator.ts';
import type { PullParts } from './pull-parts.ts';
import { isSaidTo, latestTagRecordOf, type SeenTag, type TagQuery } from './stored-tag.ts';

/** A tag that an upstream is to be asked about. */
export interface TagQuestion extends TagQuery {
  /** There was no record of it, neither here nor in the store. */
  isUnknown: boolean;
  /** Whether its manifest is wanted, or only what it is. */
  needsStored: boolean;
  /** How long the answer may take, in ms: at most half of that goes by with waiting for another process. */
  withinMs: number;
}

/** What comes of wanting to ask. */
export type Turn =
  /** Another process has asked, before or while this one `waited`. `known` is what was known when this one came. */
  | { kind: 'told'; known: TagRecord | undefined; verdict: Verdict<Descriptor>; waited: boolean }
  /** To ask oneself, on top of what is `known`. Whoever does so calls `end`. */
  | {
      kind: 'ask';
      known: TagRecord | undefined;
      /** The lease under which it is done, where there is one. */
      fence?: Fence;
      waitedMs: number;
      /** Lets the others go on, as soon as the store has what was learnt. `isShared`: they find it there. */
      end(isShared: boolean, written?: Promise<void>): void;
    };

/**
 * Who asks the upstream about a tag, among the processes that share their records: one, while the others wait for what
 * it writes down. Never in anybody's way: who waited long enough, or finds no coordinator, asks.
 */
export interface TagTurns {
  /** @throws the signal's reason */
  take(question: TagQuestion): Promise<Turn>;
  /** Resolves when no lease is held. */
  settled(): Promise<void>;
}

/** How long a lease outlives a process that was killed. */
const leaseForMs = 2_000;

/** How often whoever waits looks by himself: messages may get lost. */
const lookEveryMs = 100;

/** How much the clocks of hosts that share records may differ before what one has asked counts as old for another. */
const toleratedSkewMs = 5_000;

export function createTagTurns(parts: PullParts, coordinator: Coordinator): TagTurns {
  const { clock } = parts;
  const ending = new Set<Promise<void>>();

  /** The lease; `undefined`: somebody else has it; `'away'`: nobody can say in time. */
  async function lease(key: string, ms: number, signal: AbortSignal): Promise<Lease | 'away' | undefined> {
    let isLate = false;
    const late = () => {
      isLate = true;
      return 'away' as const;
    };
    const taking = coordinator.acquire(key, { for: leaseForMs, signal });
    taking.then((held) => isLate && held && track(held.release())).catch(() => undefined);
    try {
      return await orLate<Lease | 'away' | undefined>(taking, { clock, ms, late });
    } catch {
      signal.throwIfAborted();
      return 'away';
    }
  }

  /** What the record says to this question without anybody being asked, where it does. */
  function verdictOf(
    { target, needsStored }: TagQuestion,
    record: SeenTag | undefined,
    since?: { startedAt: number; known: TagRecord | undefined },
  ): Verdict<Descriptor> | undefined {
    // What another URL, or another identity, was told is no answer here.
    if (record && !isSaidTo(target, record)) return undefined;
    const { rules } = target.upstream;
    const verdict = lastWord(record, rules);
    if (!verdict || (needsStored && verdict.kind === 'serve' && !verdict.stored)) return undefined;
    const at = latestInstant(record);
    // Of another host's clock that is a little ahead: asked just now.
    const now = clock.now();
    const decision = decide(record, rules, at > now && at - now <= toleratedSkewMs ? at : now);
    if (decision.kind === 'serve' && !decision.revalidate) return verdict;
    if (decision.kind === 'absent' || decision.kind === 'denied') return verdict;
    // Asked while this question waited: that answers it, as it does within a process.
    const isNews = since !== undefined && at !== latestInstant(since.known) && at >= since.startedAt - toleratedSkewMs;
    return isNews ? verdict : undefined;
  }

  async function tell(channel: string, isShared: boolean): Promise<void> {
    // Whoever does not hear of it looks by himself.
    await coordinator.publish(channel, isShared ? 'asked' : 'alone').catch(() => undefined);
  }

  function track(work: Promise<void>): void {
    const tracked = work.catch(() => undefined).finally(() => ending.delete(tracked));
    ending.add(tracked);
  }

  return {
    async take(question) {
      const { target, tag, signal } = question;
      const { upstream, scope, repository } = target.place;
      const key = keyOf('validate', upstream, scope, repository, tag);
      const channel = keyOf('validated', upstream, scope, repository, tag);
      const startedAt = clock.now();
      const since = clock.monotonic();
      const waitUntil = since + question.withinMs / 2;
      const known = question.isUnknown ? undefined : await latestTagRecordOf(parts, question);
      const fresh = verdictOf(question, known);
      if (fresh) return { kind: 'told', known, verdict: fresh, waited: false };

      let latest = known;
      let ears: Ears | undefined;
      const asking = (held?: Lease): Turn => {
        let isOver = false;
        const letGo = () => {
          isOver = true;
          return held?.release();
        };
        return {
          kind: 'ask',
          known: latest,
          ...(held && { fence: { token: held.token, isHeld: () => !isOver && !held.lost.aborted } }),
          waitedMs: clock.monotonic() - since,
          end(isShared, written = Promise.resolve()) {
            if (held) track(written.then(() => tell(channel, isShared)).then(letGo));
          },
        };
      };
      try {
        for (;;) {
          const held = await lease(key, Math.max(waitUntil - clock.monotonic(), 0), signal);
          if (held === 'away') return asking();
          // Whoever begins to listen may have missed the message, and looks at once.
          const message = held
            ? undefined
            : await ears?.next(Math.min(lookEveryMs, waitUntil - clock.monotonic()), signal);
          if (!held) ears ??= listen(coordinator, channel, clock);
          const letGo = () => held && track(held.release());
          latest = await latestTagRecordOf(parts, question).catch((error: unknown) => {
            letGo();
            throw error;
          });
          const verdict = verdictOf(question, latest, { startedAt, known });
          if (verdict) {
            letGo();
            return { kind: 'told', known, verdict, waited: ears !== undefined };
          }
          if (held) return asking(held);
          if (message === 'alone' || clock.monotonic() >= waitUntil) return asking();
        }
      } finally {
        ears?.close();
      }
    },
    async settled() {
      while (ending.size > 0) await Promise.all(ending);
    },
  };
}

interface Ears {
  /** The next message, or `undefined` after `ms`. @throws the signal's reason */
  next(ms: number, signal: AbortSignal): Promise<string | undefined>;
  close(): void;
}

/** Hears the messages of a channel, from now on. */
function listen(coordinator: Coordinator, channel: string, clock: Clock): Ears {
  let heard: string | undefined;
  let wake = (): void => undefined;
  const close = coordinator.subscribe(channel, (message) => {
    heard = message;
    wake();
  });

  return {
    close,
    async next(ms, signal) {
      signal.throwIfAborted();
      if (heard === undefined) {
        await new Promise<void>((resolve) => {
          wake = () => {
            cancel();
            signal.removeEventListener('abort', wake);
            resolve();
          };
          const cancel = clock.after(ms, wake);
          signal.addEventListener('abort', wake, { once: true });
        });
        signal.throwIfAborted();
      }
      const message = heard;
      heard = undefined;
      return message;
    },
  };
}
