/** Up to this size a blob is held back whole: it leaves only once it is verified. */
export const heldWholeBytes: number = 1024 * 1024;

/** What is held back of a larger blob: its end, so that a wrong one can never look complete. */
const heldEndBytes = 64 * 1024;

/**
 * How many of the first `received` bytes of an unverified blob may leave.
 *
 * @param total size of the whole blob, where it is known
 */
export function releasable(received: number, total: number | undefined): number {
  if ((total ?? received) <= heldWholeBytes) return 0;
  // Without a size, whatever came last may be the end.
  return total === undefined ? received - heldEndBytes : Math.min(received, total - heldEndBytes);
}
