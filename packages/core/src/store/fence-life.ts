/**
 * How long the fence of a record outlives it, when it has expired or was deleted: longer than anybody who lost a lease
 * stands still before a last write.
 */
export const fenceForMs = 86_400_000;
