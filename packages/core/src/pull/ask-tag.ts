import type { Outcome } from '../freshness/record.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isProxyCacheError } from '../runtime/errors.ts';
import type { FetchedManifest, Reply } from '../upstream/upstream.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import { fileManifest, proveAgain, storedElsewhere } from './file-manifest.ts';
import type { PullParts } from './pull-parts.ts';
import { queryOf, type Target } from './target.ts';

/**
 * What the upstream made of a tag; `bytes` where the manifest came along. `filed` resolves when the store has it, with its
 * proof, and never rejects; here it is at once.
 */
export type TagOutcome = Outcome<Descriptor> & { bytes?: Uint8Array; filed?: Promise<void> };

/** Asks an upstream about tags. "found" means: being filed under its digest, with its proof, when it is `stored`. */
export interface AskTag {
  /** Is the stored image still right? One HEAD; a changed image is fetched before anybody hears of it. */
  validate(
    target: Target,
    tag: string,
    stored: {
      value: Descriptor;
      /**
       * Whether it may be answered with if the upstream fails: then its quota is spared (`rateLimit.reserve`), and nobody
       * waits longer than `validateWithin`. Where it may not, it is as if nothing were stored.
       */
      servesStale: boolean;
    },
    signal: AbortSignal,
  ): Promise<TagOutcome>;
  /** Nothing is stored, the bytes are wanted: one GET. */
  fetch(target: Target, tag: string, signal: AbortSignal): Promise<TagOutcome>;
  /** Nothing is stored, a HEAD is to be answered: one HEAD. */
  look(target: Target, tag: string, signal: AbortSignal): Promise<TagOutcome>;
}

type Resolved = Descriptor & { bytes?: Uint8Array };

export function createAskTag(parts: PullParts): AskTag {
  const { clock } = parts;

  async function resolve(
    target: Target,
    tag: string,
    { known, ...within }: { ms: number; signal: AbortSignal; sparesQuota?: boolean; known?: Descriptor },
  ): Promise<Reply<Resolved>> {
    return target.upstream.client.resolve({ ...queryOf(target, clock.monotonic(), within), tag, known });
  }

  async function fetchTag(
    target: Target,
    tag: string,
    how: { signal: AbortSignal; sparesQuota?: boolean },
  ): Promise<TagOutcome> {
    const within = { ms: target.upstream.manifestWithinMs, ...how };
    const reply = await target.upstream.client.fetchManifest({
      ...queryOf(target, clock.monotonic(), within),
      reference: { kind: 'tag', tag },
    });
    return reply.kind === 'found' ? file(target, reply.value) : refusal(reply);
  }

  function file(target: Target, manifest: FetchedManifest): TagOutcome {
    const filed = fileManifest(parts, target, manifest);
    return { kind: 'found', value: manifest.descriptor, stored: true, bytes: manifest.bytes, filed };
  }

  /** Brings in the manifest that a HEAD told of. */
  async function obtain(
    target: Target,
    tag: string,
    { resolved, ...how }: { resolved: Resolved; signal: AbortSignal; sparesQuota: boolean },
  ): Promise<TagOutcome> {
    const { bytes: came, ...descriptor } = resolved;
    const bytes = came ?? (await storedElsewhere(parts, descriptor, how.signal));
    if (bytes) return file(target, { descriptor, bytes });

    const reply = await target.upstream.client.fetchManifest({
      ...queryOf(target, clock.monotonic(), { ms: target.upstream.manifestWithinMs, ...how }),
      reference: { kind: 'digest', digest: descriptor.digest },
    });
    if (reply.kind === 'found') return file(target, reply.value);
    // SEMANTICS 6: regional registries know a tag before they know its digest.
    return reply.kind === 'denied' ? refusal(reply) : fetchTag(target, tag, how);
  }

  return {
    validate: (target, tag, stored, signal) =>
      outcomeOf(async () => {
        const how = { signal, sparesQuota: stored.servesStale };
        const { validateWithinMs, manifestWithinMs } = target.upstream;
        const ms = stored.servesStale ? validateWithinMs : manifestWithinMs;
        const reply = await resolve(target, tag, { ms, ...how, known: stored.value });
        const isSame = reply.kind === 'found' && reply.value.digest === stored.value.digest;
        if (isSame || reply.kind === 'not-modified') {
          proveAgain(parts, target, stored.value);
          return { kind: 'found', value: stored.value, stored: true };
        }
        if (reply.kind !== 'found') return refusal(reply);
        return obtain(target, tag, { resolved: reply.value, ...how });
      }),
    fetch: (target, tag, signal) => outcomeOf(() => fetchTag(target, tag, { signal })),
    look: (target, tag, signal) =>
      outcomeOf(async () => {
        const reply = await resolve(target, tag, { ms: target.upstream.manifestWithinMs, signal });
        if (reply.kind !== 'found') return refusal(reply);
        const { bytes: came, ...descriptor } = reply.value;
        const bytes = came ?? (await storedElsewhere(parts, descriptor, signal));
        if (bytes) return file(target, { descriptor, bytes });
        await parts.links.prove(target.place, 'manifest', { ...descriptor, typeUnchecked: true });
        return { kind: 'found', value: descriptor, stored: false };
      }),
  };
}

function refusal(reply: Exclude<Reply<unknown>, { kind: 'found' }>): TagOutcome {
  if (reply.kind === 'denied') return reply;
  // "Not modified" to a request without a condition says nothing that could be served.
  return reply.kind === 'absent' ? reply : { kind: 'absent', code: 'MANIFEST_UNKNOWN', message: 'not modified' };
}

/** "Could not say" as a value; anything else that is thrown (the client left, a defect) stays thrown. */
async function outcomeOf(ask: () => Promise<TagOutcome>): Promise<TagOutcome> {
  try {
    return await ask();
  } catch (error) {
    const couldNotSay = isUpstreamError(error) || (isProxyCacheError(error) && error.code === 'manifest-unsupported');
    if (couldNotSay) return { kind: 'failed', error };
    throw error;
  }
}
