// What a worker thread of ours runs: `new Worker` loads this file, nothing imports it.
import { parentPort } from 'node:worker_threads';
import { serveHashes } from './ingest/serve-hashes.ts';
import type { Session } from './runtime/threads.ts';

parentPort?.on('message', ({ kind, port }: Session) => {
  if (kind === 'hash') serveHashes(port);
  else port.close();
});
