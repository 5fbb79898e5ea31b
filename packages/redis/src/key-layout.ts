import { keyOrder } from '@proxycache/core';

/**
 * In how many parts records and their indexes are kept. The keys of a part carry the same hash tag, so that in a cluster
 * one server has a record and the index it is listed in. Another number would not find what is stored.
 */
export const shards = 64;

/** Names of the keys of one store. */
export interface KeyLayout {
  record(key: string): string;
  /** The sorted set of the record keys of a shard, in the order of listings. */
  index(shard: number): string;
  /** Anything else that the store keeps. */
}

/** `proxycache::{7}tag/…` is a record, `proxycache::{7}!index` its index: `!` is in no metadata key. */
export function keyLayout(prefix: string): KeyLayout {
  return {
    record: (key) => `${prefix}::{${shardOf(key)}}${key}`,
    index: (shard) => `${prefix}::{${shard}}!index`,
  };
}

/** FNV-1a: the same in every process and version. */
export function shardOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  return (hash >>> 0) % shards;
}

/** A key as the index has it, and back: sorted by its bytes, keys ascend by their segments. */
export const toMember: (key: string) => string = keyOrder;
export const fromMember = (member: string): string => member.replaceAll('\0', '/');

/** The bounds, by `ZRANGEBYLEX`, of the keys below a prefix and after a key. */
export function lexRange(prefix: string, after: string | undefined): { from: string; to: string } {
  const start = toMember(prefix);
  const last = after === undefined ? undefined : toMember(after);
  // `a\0…` are the keys of `a/`: all are below `a\x01`, which no segment can begin with.
  const to = start === '' ? '+' : `(${start.slice(0, -1)}\x01`;
  if (last !== undefined && last >= start) return { from: `(${last}`, to };
  return { from: start === '' ? '-' : `[${start}`, to };
}
