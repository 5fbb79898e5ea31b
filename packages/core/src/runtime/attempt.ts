/**
 * Calls what is a host's: an observer, a report of an error. What that does wrong, at once or later, is its own matter: it
 * must never cost a pull, or the process. Nobody waits for what it gives.
 */
export function attempt(work: () => unknown): void {
  try {
    const given = work();
    // Also a promise of a library's own, or of another realm.
    if (typeof given === 'object' && given !== null && 'then' in given) {
      Promise.resolve(given).catch(() => undefined);
    }
  } catch {
    // See above.
  }
}
