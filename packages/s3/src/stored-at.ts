/**
 * When an object was stored, in ms since the epoch: the last instant that it may be. Headers tell the second only, and what
 * was stored later than some instant in it must not be taken for older.
 */
export function storedAt(lastModified: Date | undefined): number {
  return lastModified === undefined ? 0 : Math.floor(lastModified.getTime() / 1_000) * 1_000 + 999;
}
