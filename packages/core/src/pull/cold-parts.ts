import type { RunningIngest } from '../ingest/ingests.ts';
import { type ByteRange, type RangeSpec, satisfiableRanges } from '../runtime/byte-range.ts';
import type { Target } from './target.ts';

/**
 * Parts of a blob that is not here that are better passed through than waited for; `undefined`: through a transfer of the
 * whole. `running`: one that is under way.
 */
export function coldParts(
  { target, ranges }: { target: Target; ranges?: readonly RangeSpec[] | undefined },
  { size, running }: { size: number | undefined; running: RunningIngest | undefined },
): { size: number; ranges: readonly [ByteRange, ...ByteRange[]] } | undefined {
  if (!ranges?.length || size === undefined || target.upstream.coldRange === 'verify') return undefined;
  const [only, ...others] = satisfiableRanges(ranges, size);
  // Several parts would be as many requests; and what goes on to the end is how a broken pull is resumed.
  if (!only || others.length > 0 || only.to === size - 1) return undefined;
  return running && running.releasable() > only.to ? undefined : { size, ranges: [only] };
}
