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

/** Options of `createProxyCache`, and of its one upstream. */
export interface OurOptions {
  readonly upstream?: Readonly<Record<string, unknown>>;
  readonly [option: string]: unknown;
}

/** What a contestant is started with. */
export interface Surroundings {
  /** The base URL of the upstream that it fills itself from. */
  upstream: string;
  /** What is there; for those that ask nobody. */
  content: Content;
  /** A folder of its own, empty or as it left it. */
  folder: string;
  /** Options of ours that a part is about. */
  ourOptions?: OurOptions;
}

/** A kind of server that is measured. */
export interface Contestant {
  /** As in the tables. */
  name: string;
  /** Whether it fills itself from an upstream; else it has the content from the start. */
  isCache: boolean;
  /** Whether it is this library, in whatever form. */
  isOurs?: true;
  /** The folder whose build it runs, where that is not this one. */
  checkout?: string;
  start(surroundings: Surroundings): Promise<RunningContestant>;
}

/** Asks for `/v2/` until that is answered. */
export async function untilItAnswers(daemon: Daemon, url: string): Promise<void> {
  await daemon.until(async () => (await fetch(`${url}/v2/`)).ok);
}
