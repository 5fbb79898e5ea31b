import type { Metric } from './metrics.ts';

/** The figures of one contestant in one round of one cell of a part's table. */
export interface Sample {
  part: string;
  cell: string;
  contestant: string;
  values: Partial<Record<Metric, number>>;
}

/** A contestant's figures of one metric, a value for each round. */
export function valuesOf(
  samples: readonly Sample[],
  { part, cell, contestant, metric }: { part: string; cell: string; contestant: string; metric: Metric },
): readonly number[] {
  return samples
    .filter((sample) => sample.part === part && sample.cell === cell && sample.contestant === contestant)
    .flatMap(({ values }) => values[metric] ?? []);
}

/** Each once, in the order of their first appearance. */
export function distinct<T>(values: readonly T[]): readonly T[] {
  return [...new Set(values)];
}
