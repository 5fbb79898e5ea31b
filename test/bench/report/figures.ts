import type { Metric } from './metrics.ts';
import { distinct, type Sample, valuesOf } from './samples.ts';
import { median, ratio } from './statistics.ts';

/** Asks samples what a target needs: each answer has a value for each cell that the pattern fits and that was measured. */
export interface Figures {
  /** The median of a contestant's metric. */
  of(part: string, cells: RegExp, metric: Metric, contestant?: string): readonly number[];
  /** Ours to another contestant's. */
  ratio(part: string, cells: RegExp, metric: Metric, to: string): readonly number[];
  /** Ours in one cell to ours in another, whose name is made from the first one's. */
  ratioOfCells(part: string, cells: RegExp, metric: Metric, other: (cell: string) => string): readonly number[];
  /** Every figure of ours, of every round. */
  all(part: string, cells: RegExp, metric: Metric): readonly number[];
}

const us = 'us';

/** Looks into samples. */
export function figuresOf(samples: readonly Sample[]): Figures {
  const cellsOf = (part: string, pattern: RegExp) =>
    distinct(samples.filter((sample) => sample.part === part && pattern.test(sample.cell)).map(({ cell }) => cell));
  const values = (part: string, cell: string, metric: Metric, contestant = us) =>
    valuesOf(samples, { part, cell, contestant, metric });
  return {
    of: (part, cells, metric, contestant) =>
      cellsOf(part, cells).flatMap((cell) => {
        const found = values(part, cell, metric, contestant);
        return found.length === 0 ? [] : [median(found)];
      }),
    ratio: (part, cells, metric, to) =>
      cellsOf(part, cells).flatMap((cell) => ratio(values(part, cell, metric), values(part, cell, metric, to)) ?? []),
    ratioOfCells: (part, cells, metric, other) =>
      cellsOf(part, cells).flatMap(
        (cell) => ratio(values(part, cell, metric), values(part, other(cell), metric)) ?? [],
      ),
    all: (part, cells, metric) => cellsOf(part, cells).flatMap((cell) => values(part, cell, metric)),
  };
}
