import type { Figures } from './figures.ts';
import { markdownTable, times } from './table.ts';

/** One thing that must hold of a kind of work. */
export interface Check {
  what: string;
  atLeast?: number;
  atMost?: number;
  /** As measured; all of the values must hold, and the worst one is told. None: not measured. */
  measure(figures: Figures): readonly number[];
  /** Default: a factor. */
  unit?: 'ms' | 'MiB' | 'GETs';
}

/** What is promised of a kind of work. */
export interface Target {
  work: string;
  checks: readonly Check[];
}

/** How a check came out. */
export interface Verdict {
  worst: number;
  isMet: boolean;
}

/** Holds a check against what was measured; `undefined` when it was not. */
export function verdictOf({ atLeast, atMost, measure }: Check, figures: Figures): Verdict | undefined {
  const values = measure(figures);
  if (values.length === 0) return undefined;
  const worst = atLeast === undefined ? Math.max(...values) : Math.min(...values);
  return {
    worst,
    isMet: worst >= (atLeast ?? Number.NEGATIVE_INFINITY) && worst <= (atMost ?? Number.POSITIVE_INFINITY),
  };
}

/** The table of the targets that were measured. */
export function targetsTable(targets: readonly Target[], figures: Figures): string {
  const rows = targets.flatMap(({ work, checks }) => {
    const told = checks.flatMap((check) => {
      const verdict = verdictOf(check, figures);
      return verdict === undefined ? [] : [rowOf(check, verdict)];
    });
    return told.map((row, index) => [index === 0 ? work : '', ...row]);
  });
  return markdownTable(['work', 'what', 'target', 'measured', ''], rows);
}

function rowOf({ what, atLeast, atMost, unit }: Check, { worst, isMet }: Verdict): readonly string[] {
  const bound = [
    atLeast !== undefined && `>= ${inUnit(atLeast, unit)}`,
    atMost !== undefined && `<= ${inUnit(atMost, unit)}`,
  ];
  return [what, bound.filter(Boolean).join(', '), inUnit(worst, unit), isMet ? 'met' : 'missed'];
}

function inUnit(value: number, unit: Check['unit']): string {
  if (unit !== undefined) return `${Number(value.toFixed(unit === 'ms' ? 1 : 0))} ${unit}`;
  return `${Number(times(value)).toString()}x`;
}
