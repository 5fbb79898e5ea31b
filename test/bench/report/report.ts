import type { Part } from '../bench.ts';
import { targets } from '../targets.ts';
import { figuresOf } from './figures.ts';
import type { Run } from './run.ts';
import { tableOf } from './table.ts';
import { targetsTable } from './target.ts';

/** The tables of the parts that were measured, each under a heading. */
export function partsReport(parts: readonly Part[], { samples, others }: Run, heading: string): string {
  return parts
    .filter(({ tables }) => tables.some(({ part }) => samples.some((sample) => sample.part === part)))
    .map(({ name, title, tables }) =>
      [`${heading} ${title}`, ...tables.map((shape) => tableOf(samples, shape)), disturbance(others[name])].join(
        '\n\n',
      ),
    )
    .join('\n\n');
}

function disturbance(share: number | undefined): string {
  return share === undefined ? '' : `Others used ${(share * 100).toFixed(0)} % of the machine meanwhile.`;
}

/** What was aimed at, and what came of it. */
export function targetsReport({ samples }: Run): string {
  return targetsTable(targets, figuresOf(samples));
}
