import type { Contestant } from './contestants/contestant.ts';
import type { Sample } from './report/samples.ts';
import type { TableShape } from './report/table.ts';

/** Programs that the benchmark runs, by their paths. */
export interface Tools {
  drain: string;
  nginx: string;
  wrk: string;
  ab: string;
}

/** What a part is given to measure with. */
export interface Bench {
  tools: Tools;
  contestants: readonly Contestant[];
  rounds: number;
  /** Smaller content and shorter loads: for a laptop, and for a look. */
  isShort: boolean;
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
