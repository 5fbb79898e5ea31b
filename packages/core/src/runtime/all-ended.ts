/**
 * What all of them came to, as `Promise.all` gives it, but not before the last has ended: what was begun is not left running.
 *
 * @throws what the first of them, in their order, failed with
 */
export async function allEnded<T>(promises: Iterable<Promise<T>>): Promise<T[]> {
  const ended = await Promise.allSettled(promises);
  const failed = ended.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason;
  return ended.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}
