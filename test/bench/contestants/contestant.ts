import type { Daemon } from '../../peers/daemon.ts';
import type { Content } from '../content.ts';

/** A server that runs, and answers at the paths of the distribution API. */
export interface RunningContestant {
  /** `http://127.0.0.1:PORT` */
  url: string;
  /** Without one, nobody stands between client and upstream. */
  pid?: number;
  /** Ends it and removes what it stored. */
  stop(): Promise<void>;
}

/** What a contestant is started with. */
export interface Surroundings {
  /** The base URL of the upstream that it fills itself from. */
  upstream: string;
  /** What is there; for those that ask nobody. */
  content: Content;
  /** A new, empty folder of its own. */
  folder: string;
  /** Options of our upstream, beside its URL: what a part is about. */
  upstreamOptions?: Readonly<Record<string, unknown>>;
}

/** A kind of server that is measured. */
export interface Contestant {
  /** As in the tables. */
  name: string;
  /** Whether it fills itself from an upstream; else it has the content from the start. */
  isCache: boolean;
  start(surroundings: Surroundings): Promise<RunningContestant>;
}

/** Asks for `/v2/` until that is answered. */
export async function untilItAnswers(daemon: Daemon, url: string): Promise<void> {
  await daemon.until(async () => (await fetch(`${url}/v2/`)).ok);
}
