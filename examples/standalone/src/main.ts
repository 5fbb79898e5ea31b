import { createProxyCache, isProxyCacheError } from '@proxycache/core';
import { applyFlags, buildOptions } from './build-options.ts';
import { parseFlags, usage } from './flags.ts';
import { defaultConfig, loadConfig } from './load-config.ts';
import { createLog, logEvents } from './log.ts';
import { startServer } from './server.ts';

/** A second signal that comes sooner is the first one, by another way. */
const echoMs = 500;

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
  const { logger, flush } = createLog(loaded.config.log.level);
  process.on('exit', flush);
  process.on('uncaughtException', (err) => {
    logger.fatal({ err }, 'this should not happen; the server ends');
    process.exit(1);
  });

  const cache = createProxyCache({ ...buildOptions(loaded, flags.upstreams), observer: logEvents(logger) });
  const server = await startServer({ cache, ...loaded, logger });
  process.stdout.write(`proxycache listening on ${server.url}\n`);

  let stoppingSince: number | undefined;
  const stop = (signal: NodeJS.Signals) => {
    if (stoppingSince !== undefined) {
      // Who asks again does not want to wait; but npm hands on the Ctrl-C that the terminal sent to both.
      if (performance.now() - stoppingSince > echoMs) process.exit(1);
      return;
    }
    stoppingSince = performance.now();
    logger.info(
      { signal, withinMs: loaded.config.limits.shutdownWithin },
      'stopping: no new requests, what runs may end',
    );
    void server.stop().then(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

main().catch((error: unknown) => {
  // A mistake in the set-up has a message for the person who made it; its stack would only hide it.
  const text = isProxyCacheError(error) ? error.message : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`proxycache: ${text}\n`);
  process.exit(1);
});
