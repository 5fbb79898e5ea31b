import type { Flags } from './flags.ts';
import type { LoadedConfig } from './load-config.ts';

/** What a worker serves: as the primary read it, so that all of them serve the same. */
export interface WorkerTask {
  loaded: LoadedConfig;
  upstreams: Flags['upstreams'];
}

/** What a worker tells its primary. */
export type FromWorker =
  // It listens to its primary: what came before this would be lost.
  { proxycache: 'ready' } | { proxycache: 'listening'; url: string } | { proxycache: 'failed'; message: string };

/** What a primary tells its worker. */
export type ToWorker = { proxycache: 'serve'; task: WorkerTask } | { proxycache: 'stop'; signal: NodeJS.Signals };

const isOurs = (message: unknown, kinds: readonly string[]): boolean =>
  kinds.includes(String((message as { proxycache?: unknown } | null)?.proxycache));

export const isFromWorker = (message: unknown): message is FromWorker =>
  isOurs(message, ['ready', 'listening', 'failed']);

export const isToWorker = (message: unknown): message is ToWorker => isOurs(message, ['serve', 'stop']);
