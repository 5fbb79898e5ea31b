/** A second signal that comes sooner is the first one, by another way. */
const echoMs = 500;

/** Calls `stop` at the first SIGTERM or SIGINT, and `endAtOnce` at the next one. */
export function stopOnSignals(stop: (signal: NodeJS.Signals) => void, endAtOnce: () => void): void {
  let since: number | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    if (since !== undefined) {
      // Who asks again does not want to wait; but npm hands on the Ctrl-C that the terminal sent to both.
      if (performance.now() - since > echoMs) endAtOnce();
      return;
    }
    since = performance.now();
    stop(signal);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}
