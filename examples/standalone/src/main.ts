import { applyFlags } from './build-options.ts';
import { checkConfig } from './check-config.ts';
import { parseFlags, usage } from './flags.ts';
import { defaultConfig, loadConfig } from './load-config.ts';
import { failureText, openLog, runServer } from './run-server.ts';
import { stopOnSignals } from './stop-on-signals.ts';
import { superviseWorkers } from './supervise-workers.ts';

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
  const { workers, limits, log } = loaded.config;
  const logger = openLog(log.level);
  if (flags.command === 'check') {
    const isFine = await checkConfig(task, { logger, write: (line) => process.stdout.write(`${line}\n`) });
    process.exit(isFine ? 0 : 1);
  }
  const announce = (url: string) => process.stdout.write(`proxycache listening on ${url}\n`);
  const tellStopping = (signal: NodeJS.Signals) =>
    logger.info({ signal, withinMs: limits.shutdownWithin }, 'stopping: no new requests, what runs may end');

  if (workers > 1) {
    const supervised = superviseWorkers({ count: workers, task, logger, announce });
    stopOnSignals((signal) => {
      tellStopping(signal);
      supervised.stop(signal);
    });
    await supervised.ended;
  } else {
    const server = await runServer(task, { logger });
    announce(server.url);
    const signal = await new Promise<NodeJS.Signals>(stopOnSignals);
    tellStopping(signal);
    await server.stop();
  }
  process.exit(0);
}

main().catch((error: unknown) => {
  process.stderr.write(`proxycache: ${failureText(error)}\n`);
  process.exit(1);
});
