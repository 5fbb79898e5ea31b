import { setTimeout as sleep } from 'node:timers/promises';
import type { Content } from '../content.ts';

/** What an upstream was asked for. */
export interface UpstreamFigures {
  gets: number;
  heads: number;
  blobGets: number;
  /** Of the bodies of GETs, as sent. */
  bytes: number;
}

/** The upstream of all contestants: a registry that counts. */
export interface Origin {
  url: string;
  pid: number;
  /** What it was asked for since the last call. */
  take(): Promise<UpstreamFigures>;
  stop(): Promise<void>;
}

/** Starts one that serves the content that there is now, with its own files in a folder. */
export type StartOrigin = (content: Content, folder: string) => Promise<Origin>;

/** Adds up lines of the log: method, path, status, bytes. */
export function countLines(lines: readonly string[]): UpstreamFigures {
  const requests = lines.map((line) => line.split(' '));
  const of = (method: string) => requests.filter(([given]) => given === method);
  return {
    gets: of('GET').length,
    heads: of('HEAD').length,
    blobGets: of('GET').filter(([, path]) => path?.includes('/blobs/')).length,
    bytes: of('GET').reduce((total, [, , , bytes]) => total + Number(bytes), 0),
  };
}

/** Counts what was asked since the last call. @param lines all of the log so far, for {@link countLines} */
export function createTake(lines: () => readonly string[]): Origin['take'] {
  let counted = 0;
  return async () => {
    // A line is written when the answer has gone, which a client may notice first.
    await sleep(20);
    const all = lines();
    const figures = countLines(all.slice(counted));
    counted = all.length;
    return figures;
  };
}
