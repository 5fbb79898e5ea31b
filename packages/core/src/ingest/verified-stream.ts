import type { Digest } from '../oci/digest.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import { createContentHash, type HashedPrefix, isSameHash } from './content-hash.ts';
import { releasable } from './hold-back.ts';
import { createPacker, joined } from './packed.ts';

/** What a {@link verifiedStream} is to be. */
export interface VerifiedStreamOptions {
  /** The upstream's key, for the error. */
  upstream: string;
  digest: Digest;
  /** Size of the whole blob, where it is known. */
  total: number | undefined;
  /** What of the blob was read before: the body goes on from there. Default: nothing. */
  prefix?: HashedPrefix | undefined;
  /** A prefix of what was given before: where the blob begins with another, it is wrong. Only for a body from byte 0 on. */
  witness?: HashedPrefix | undefined;
  /** What its end waits for besides. Default: nothing. */
  confirmed?: (() => Promise<void>) | undefined;
}

/**
 * Passes a blob through, from its first byte or after a prefix, held back at its end until the digest was found right.
 * Memory is bounded by the hold-back.
 *
 * @throws UpstreamError `digest-mismatch`, from `next()`; what `confirmed` rejects with
 */
export async function* verifiedStream(
  body: Bytes,
  { upstream, digest, total, prefix, witness, confirmed }: VerifiedStreamOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = prefix?.hash.copy() ?? createContentHash(digest);
  const mismatch = (sent: string) =>
    new UpstreamError('digest-mismatch', `${upstream} sent ${sent} for ${digest}`, { upstream });
  const pack = createPacker();
  let held: Uint8Array[] = [];
  let left = prefix?.length ?? 0;
  let received = left;
  for await (const chunk of body) {
    await hash.ready();
    const untilWitness = witness ? witness.length - received : 0;
    hash.update(untilWitness > 0 ? chunk.subarray(0, untilWitness) : chunk);
    if (witness && untilWitness > 0 && chunk.byteLength >= untilWitness) {
      if (!(await isSameHash(hash, witness.hash))) throw mismatch('other bytes than before');
      hash.update(chunk.subarray(untilWitness));
    }
    received += chunk.byteLength;
    // What is over is as wrong as a wrong digest; held back without a bound it would fill the memory.
    if (total !== undefined && received > total) break;
    const packed = pack(chunk);
    const both = joined(held.at(-1), packed);
    if (both) held[held.length - 1] = both;
    else held.push(packed === chunk ? new Uint8Array(chunk) : packed);
    while (held[0] && left + held[0].byteLength <= releasable(received, total)) {
      const next = held.shift() as Uint8Array;
      left += next.byteLength;
      yield next;
    }
  }
  // A blob that ends before what was given does is another, too.
  if (witness && received < witness.length) throw mismatch(`${received} bytes, fewer than before,`);
  const actual = await hash.digest();
  if (actual !== digest || (total !== undefined && received !== total)) {
    throw mismatch(actual === digest ? `${received} instead of ${total} bytes` : `bytes of ${actual}`);
  }
  await confirmed?.();
  for (const chunk of held) yield chunk;
  held = [];
}
