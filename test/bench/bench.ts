import type { Contestant } from './contestants/contestant.ts';
import type { StartOrigin } from './origin/origin.ts';
import type { Sample } from './report/samples.ts';
import type { TableShape } from './report/table.ts';

/** Programs that the benchmark runs, by their paths. */
export interface Tools {
  drain: string;
  link: string;
  wrk: string;
  ab: string;
}

/** How much is measured: all of it; smaller content and shorter loads, for a look; next to nothing, to see that it runs. */
export type Extent = 'full' | 'short' | 'tiny';

/** What a part is given to measure with. */
export interface Bench {
  tools: Tools;
  startOrigin: StartOrigin;
  contestants: readonly Contestant[];
  rounds: number;
  extent: Extent;
  /** Also a store of a million records. */
  isMillion: boolean;
  /** Whether a cell is asked for, in parts that measure one cell after the other. */
  wants(cell: string): boolean;
  /** A new, empty folder, removed at the end. */
  newFolder(name: string): string;
  record(sample: Sample): void;
  /** Tells who waits what is being done. */
  tell(line: string): void;
}

/** One part of the benchmark. */
export interface Part {
  name: string;
  title: string;
  tables: readonly TableShape[];
  run(bench: Bench): Promise<void>;
}

/** What is right for the extent of a run. */
export function sized<T>({ extent }: Pick<Bench, 'extent'>, choices: Readonly<Record<Extent, T>>): T {
  return choices[extent];
}
