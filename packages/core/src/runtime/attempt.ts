/** Calls what is a host's. What that does wrong, at once or later, is its own matter: it must never cost a pull, or the process. */
export function attempt(work: () => unknown): void {
  try {
    const given = work();
    if (given instanceof Promise) given.catch(() => undefined);
  } catch {
    // See above.
  }
}
