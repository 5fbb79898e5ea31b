import { attempt } from '../runtime/attempt.ts';
import { createFlights } from '../runtime/collapse.ts';
import type { Duration } from '../runtime/duration.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Lease } from '../store/coordinator.ts';
import type { RemovalReason } from './events.ts';
import { type Evict, evict } from './evict.ts';
import type { RetentionParts } from './retention-parts.ts';
import { createSchedule } from './schedule.ts';
import { type SweepHow, sweep } from './sweep.ts';
import { copyOf, emptyReport, type SweepReport } from './sweep-report.ts';

/** Options of a sweep. */
export interface SweepOptions {
  /** Tells what would go, and removes nothing. Default false. */
  dryRun?: boolean;
  /** Ends the wait; the sweep ends with the last who waits for it. */
  signal?: AbortSignal;
  /** Called after each repository and file, synchronously, with what was removed so far. What it throws, or rejects with, is dropped. */
  onProgress?: (soFar: SweepReport) => void;
}

/** The sweeps of one storage: one at a time. */
export interface Sweeps {
  run(options: SweepOptions): Promise<SweepReport>;
  /** Makes room: what was used the longest ago goes, whatever its age. */
  evict: Evict;
  /** Ends what runs. Never rejects. */
  close(): Promise<void>;
}

const leaseKey = 'retention/sweep';
const leaseForMs = 60_000;

/** @param every how often a sweep runs by itself; `false`: never */
export function createSweeps(parts: RetentionParts, every: Duration | false): Sweeps {
  const { clock, observe, coordinator } = parts;
  const flights = createFlights<SweepReport>();
  const closing = new AbortController();
  const waiters = new Set<{ dryRun: boolean; onProgress: (soFar: SweepReport) => void }>();
  let last: Promise<unknown> = Promise.resolve();
  let evicting: Promise<unknown> = Promise.resolve();

  /** Tells how it ended, whatever came of it. */
  async function told(
    report: SweepReport,
    reason: RemovalReason,
    { signal, work }: { signal: AbortSignal; work: () => Promise<void> },
  ): Promise<void> {
    const startedAt = clock.monotonic();
    let failure: unknown;
    try {
      signal.throwIfAborted();
      await work();
    } catch (error) {
      failure = error ?? new Error('unknown');
    }
    report.durationMs = clock.monotonic() - startedAt;
    const outcome = failure === undefined ? 'finished' : signal.aborted ? 'stopped' : 'failed';
    const { dryRun, tags, manifests, blobs, files, bytes, durationMs } = report;
    observe({
      type: 'sweep-ended',
      outcome,
      reason,
      ...{ dryRun, tags, manifests, blobs, files, bytes, durationMs },
      ...(outcome === 'failed' && { error: failure instanceof Error ? failure.message : String(failure) }),
    });
    if (failure !== undefined) throw failure;
  }

  /** `elsewhere`: another process has it. A coordinator that is away keeps nobody from it: two sweeps do no harm. */
  async function lease(signal: AbortSignal): Promise<Lease | 'elsewhere' | undefined> {
    try {
      return (await coordinator?.acquire(leaseKey, { for: leaseForMs, signal })) ?? (coordinator && 'elsewhere');
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
  }

  async function sweepAll(dryRun: boolean, outer: AbortSignal): Promise<SweepReport> {
    const report = emptyReport(dryRun);
    const startedAt = clock.monotonic();
    // What only tells disturbs nobody.
    const held = dryRun ? undefined : await lease(outer);
    if (held === 'elsewhere') {
      parts.sweptElsewhere();
      return { ...report, elsewhere: true };
    }
    const signal = held ? AbortSignal.any([outer, held.lost]) : outer;
    const progress = () => {
      report.durationMs = clock.monotonic() - startedAt;
      for (const waiter of waiters) if (waiter.dryRun === dryRun) attempt(() => waiter.onProgress(copyOf(report)));
    };
    const how: SweepHow = { dryRun, signal, progress };
    try {
      await told(report, 'unused', { signal, work: () => sweep(parts, report, how) });
    } finally {
      await held?.release();
    }
    return report;
  }

  async function run({ dryRun = false, signal, onProgress }: SweepOptions): Promise<SweepReport> {
    if (closing.signal.aborted) throw closing.signal.reason;
    const waiter = { dryRun, onProgress: onProgress ?? (() => undefined) };
    if (onProgress) waiters.add(waiter);
    const work = (signalOfAll: AbortSignal) => {
      // What something makes room by meanwhile would be looked at twice, and its bytes be in nobody's records yet.
      const running = Promise.all([last, evicting]).then(() =>
        sweepAll(dryRun, AbortSignal.any([signalOfAll, closing.signal])),
      );
      last = running.catch(() => undefined);
      return running;
    };
    try {
      return await flights.join(String(dryRun), work, signal);
    } finally {
      waiters.delete(waiter);
    }
  }

  const schedule = createSchedule({ ...parts, every, sweep: () => run({}) });

  return {
    run,
    evict({ signal, ...room }) {
      // Not behind a sweep: whoever wants room waits for it.
      const running = evicting.then(async () => {
        const all = AbortSignal.any([signal, closing.signal]);
        const report = emptyReport(false);
        let freed = 0;
        await told(report, 'max-bytes', {
          signal: all,
          work: async () => {
            freed = await evict(parts, report, { ...room, signal: all });
          },
        });
        return freed;
      });
      evicting = running.catch(() => undefined);
      return running;
    },
    async close() {
      schedule.close();
      closing.abort(new ProxyCacheError('closed', 'the cache is closed'));
      await Promise.all([last, evicting]);
      parts.gone.close();
      parts.unlinked.close();
    },
  };
}
