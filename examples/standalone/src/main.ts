import { applyFlags } from './build-options.ts';
import { checkConfig } from './check-config.ts';
import { endProcess } from './end-process.ts';
import { parseFlags, usage } from './flags.ts';
import { defaultConfig, loadConfig } from './load-config.ts';
import type { Log } from './log.ts';
import { failureText, openLog, runServer } from './run-server.ts';
import { stopOnSignals } from './stop-on-signals.ts';
import { superviseWorkers } from './supervise-workers.ts';
import type { WorkerTask } from './worker-messages.ts';

async function main(): Promise<void> {
  const flags = parseFlags(process.argv.slice(2));
  if (flags.help) {
    process.stdout.write(usage);
    return;
  }
  const loaded = applyFlags(
    flags.config === undefined ? defaultConfig() : loadConfig(flags.config, process.env),
    flags,
  );
  const task = { loaded, upstreams: flags.upstreams };
  const log = openLog(loaded.config.log.level);
  const run = flags.command === 'check' ? check : serve;
  await endProcess(await run(task, log).catch(tellFailure), log);
}

/** @returns what the process ends with */
async function check(task: WorkerTask, { logger }: Log): Promise<number> {
  const isFine = await checkConfig(task, { logger, write: (line) => process.stdout.write(`${line}\n`) });
  return isFine ? 0 : 1;
}

/** @returns what the process ends with, once it was told to stop */
async function serve(task: WorkerTask, log: Log): Promise<number> {
  const { logger } = log;
  const { workers, limits } = task.loaded.config;
  const endAtOnce = () => void endProcess(1, log);
  const announce = (url: string) => process.stdout.write(`proxycache listening on ${url}\n`);
  const tellStopping = (signal: NodeJS.Signals) =>
    logger.info({ signal, withinMs: limits.shutdownWithin }, 'stopping: no new requests, what runs may end');

  if (workers > 1) {
    const supervised = superviseWorkers({ count: workers, task, logger, announce });
    stopOnSignals((signal) => {
      tellStopping(signal);
      supervised.stop(signal);
    }, endAtOnce);
    await supervised.ended;
  } else {
    const server = await runServer(task, { logger });
    announce(server.url);
    const signal = await new Promise<NodeJS.Signals>((stop) => stopOnSignals(stop, endAtOnce));
    tellStopping(signal);
    await server.stop();
  }
  return 0;
}

function tellFailure(error: unknown): number {
  process.stderr.write(`proxycache: ${failureText(error)}\n`);
  return 1;
}

main().catch((error: unknown) => process.exit(tellFailure(error)));
