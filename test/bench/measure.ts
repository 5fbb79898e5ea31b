import { setTimeout as sleep } from 'node:timers/promises';
import type { Metric } from './report/metrics.ts';
import type { Performer } from './stage.ts';

export const MiB: number = 1024 * 1024;
export const GiB: number = 1024 * MiB;

/** What a server used up while something was done. */
export interface Usage {
  cpuSeconds: number | undefined;
  peakBytes: number | undefined;
}

/** Does something, and says what the server used up meanwhile. */
export async function measured<T>({ tree }: Performer, work: () => Promise<T>): Promise<[T, Usage]> {
  tree?.forgetPeak();
  const before = tree?.cpuSeconds() ?? 0;
  const outcome = await work();
  const after = tree?.cpuSeconds();
  return [outcome, { cpuSeconds: after && after - before, peakBytes: tree?.peakBytes() }];
}

const idleForMs = 200;
const idleCpuSeconds = 0.01;
const mostWaits = 50;

/** Waits until a server has next to nothing to do any more. */
export async function untilIdle({ tree }: Performer): Promise<void> {
  if (tree === undefined) return;
  for (let waits = 0; waits < mostWaits; waits++) {
    const before = tree.cpuSeconds();
    await sleep(idleForMs);
    if (tree.cpuSeconds() - before <= idleCpuSeconds) return;
  }
}

/** A server's usage as figures of a sample: its CPU as it is, or for a request or GiB of so many. */
export function usageValues(
  { cpuSeconds, peakBytes }: Usage,
  per: { requests?: number; bytes?: number } = {},
): Partial<Record<Metric, number>> {
  if (cpuSeconds === undefined || peakBytes === undefined) return {};
  const memory = peakBytes / MiB;
  if (per.requests !== undefined) return { cpuPerRequest: (cpuSeconds / per.requests) * 1e6, memory };
  if (per.bytes !== undefined) return { cpuPerGiB: (cpuSeconds * GiB) / per.bytes, memory };
  return { cpu: cpuSeconds, memory };
}
