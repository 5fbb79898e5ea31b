import type { Digest } from '../oci/digest.ts';
import { allEnded } from '../runtime/all-ended.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Slots } from '../runtime/slots.ts';
import { isStored } from './keep-blob.ts';
import type { PullParts } from './pull-parts.ts';

/**
 * Looks whether all that was stored of an image is stored still.
 *
 * @throws ProxyCacheError `quota-exceeded` where some of it made way again for something else, or was never taken by the store;
 * what the store throws; the signal's reason
 */
export async function expectStored(
  parts: PullParts,
  contents: readonly Digest[],
  { slots, signal }: { slots: Slots; signal: AbortSignal },
): Promise<void> {
  const stored = await allEnded(contents.map((digest) => slots.run(() => isStored(parts, digest, signal), signal)));
  const gone = stored.filter((is) => !is).length;
  if (gone === 0) return;
  const message = `${gone} of its ${stored.length} manifests and blobs are not stored any more: there is too little room for all that was asked for`;
  throw new ProxyCacheError('quota-exceeded', message);
}
