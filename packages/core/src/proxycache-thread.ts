// What a worker thread of ours runs: `new Worker` loads this file, nothing imports it.
import { parentPort } from 'node:worker_threads';
import { serveHashes } from './ingest/serve-hashes.ts';
import { type Session, threadReady } from './runtime/threads.ts';
import type { LaneServer } from './upstream/serve-lane.ts';
import type { LaneInit } from './upstream/thread-lanes.ts';

let lanes: Promise<LaneServer> | undefined;

/** What it takes is loaded when it is needed: hashing needs no HTTP client. */
async function loadLanes(): Promise<LaneServer> {
  const { createLaneServer } = await import('./upstream/serve-lane.ts');
  return createLaneServer();
}

parentPort?.on('message', async ({ kind, port, init }: Session) => {
  if (kind === 'hash') return serveHashes(port);
  if (kind !== 'lane') return port.close();
  lanes ??= loadLanes();
  const serve = await lanes;
  serve(port, init as LaneInit);
});
parentPort?.postMessage(threadReady);
