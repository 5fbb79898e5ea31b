import type { Part } from '../bench.ts';
import { targets } from '../targets.ts';
import { figuresOf } from './figures.ts';
import type { Sample } from './samples.ts';
import { tableOf } from './table.ts';
import { targetsTable } from './target.ts';

/** The tables of the parts that were measured, each under a heading. */
export function partsReport(parts: readonly Part[], samples: readonly Sample[], heading: string): string {
  return parts
    .filter(({ tables }) => tables.some(({ part }) => samples.some((sample) => sample.part === part)))
    .map(({ title, tables }) => [`${heading} ${title}`, ...tables.map((shape) => tableOf(samples, shape))].join('\n\n'))
    .join('\n\n');
}

/** What was aimed at, and what came of it. */
export function targetsReport(samples: readonly Sample[]): string {
  return targetsTable(targets, figuresOf(samples));
}
