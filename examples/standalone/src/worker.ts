import cluster from 'node:cluster';
import { clusterCoordinator } from '@proxycache/core/cluster';
import { endProcess } from './end-process.ts';
import type { Log } from './log.ts';
import { failureText, openLog, runServer } from './run-server.ts';
import type { RunningServer } from './server.ts';
import { type FromWorker, isToWorker, type WorkerTask } from './worker-messages.ts';

// One of the processes that supervise-workers.ts starts: it serves what its primary tells it.

let server: RunningServer | undefined;
let log: Log | undefined;
let isStopping = false;

async function stop(): Promise<void> {
  // A terminal's Ctrl-C comes to all, and again from the primary, who ends its workers when it shall be at once.
  if (isStopping) return;
  isStopping = true;
  await server?.stop();
  await endProcess(0, log);
}

async function serve(task: WorkerTask): Promise<void> {
  log = openLog(task.loaded.config.log.level, { worker: cluster.worker?.id });
  try {
    server = await runServer(task, { logger: log.logger, coordinator: clusterCoordinator() });
  } catch (error) {
    await tell({ proxycache: 'failed', message: failureText(error) });
    await endProcess(1, log);
    return;
  }
  await tell({ proxycache: 'listening', url: server.url });
}

const tell = (message: FromWorker) =>
  new Promise<void>((done) => {
    // A primary that is gone needs no word: this process ends with it.
    process.send?.(message, () => done());
  });

process.on('message', (message) => {
  if (!isToWorker(message)) return;
  if (message.proxycache === 'serve') void serve(message.task);
  else void stop();
});
cluster.worker?.once('disconnect', () => {
  // Its primary is gone. Node calls process.exit unless this was meant.
  if (cluster.worker) cluster.worker.exitedAfterDisconnect = true;
  void endProcess(0, log);
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop());
await tell({ proxycache: 'ready' });
