import { readFileSync, writeFileSync } from 'node:fs';
import type { Sample } from './samples.ts';

/** What a run gave: its figures in the order in which they were taken, and how quiet the machine was. */
export interface Run {
  samples: Sample[];
  /** By part: the share of the machine's CPU that others used meanwhile, 0 to 1. */
  others: Record<string, number>;
}

/** The figures of several files as those of one run. */
export function readRuns(files: readonly string[]): Run {
  const runs = files.map((file): Run => JSON.parse(readFileSync(file, 'utf8')));
  return {
    samples: runs.flatMap(({ samples }) => samples),
    others: runs.reduce<Run['others']>((all, { others }) => {
      // A part that was measured in pieces was as disturbed as its worst one.
      for (const [part, share] of Object.entries(others)) all[part] = Math.max(share, all[part] ?? 0);
      return all;
    }, {}),
  };
}

export function writeRun(file: string, run: Run): void {
  writeFileSync(file, `${JSON.stringify(run, undefined, 1)}\n`);
}
