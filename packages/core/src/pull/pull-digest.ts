import type { Asker } from '../admission/asker.ts';
import type { Digest } from '../oci/digest.ts';
import { createFlights } from '../runtime/collapse.ts';
import { traceFlights } from '../runtime/trace-flights.ts';
import type { FetchedManifest, Reply } from '../upstream/upstream.ts';
import type { ManifestAnswer } from './answer.ts';
import { createAskJointly } from './ask-jointly.ts';
import { bytesOfProof, fileManifest, storedElsewhere } from './file-manifest.ts';
import { answerByDigest } from './held-manifests.ts';
import type { PullParts } from './pull-parts.ts';
import { refusedReply } from './refusal.ts';
import { queryOf, type Target, targetKey } from './target.ts';
import { unproven } from './unproven.ts';

/** A request for a manifest by digest. `want`: its bytes (GET), or what it is (HEAD). */
export interface DigestPull {
  target: Target;
  digest: Digest;
  want: 'bytes' | 'descriptor';
  signal: AbortSignal;
  /** Who asks. Default: the host itself. */
  asker?: Asker | undefined;
}

/** Answers manifests by digest. */
export type PullDigest = (request: DigestPull) => Promise<ManifestAnswer>;

/** `since`: `clock.monotonic()` ms at which its client began to wait, however many questions it takes. */
type Asking = DigestPull & { since: number };

type Found = Pick<FetchedManifest, 'descriptor'> & { bytes?: Uint8Array };

/**
 * A digest never changes: what this repository proved to hold and what is here is served without asking anybody.
 *
 * @param recentTagOf a tag that lately stood for a digest: some registries know the tag before the digest
 */
export function createPullDigest(
  parts: PullParts,
  recentTagOf: (target: Target, digest: Digest) => string | undefined,
): PullDigest {
  const { links, manifests, clock } = parts;
  const flights = traceFlights(createFlights<Reply<Found>>(parts.asking), parts.trace, 'ask for manifest');
  const askJointly = createAskJointly(flights, clock);

  /** Bytes that are here already need only the proof that this repository holds them too. */
  async function prove(request: Asking): Promise<Reply<Found>> {
    const { target, digest, since, signal } = request;
    const query = queryOf(target, since, { ms: target.upstream.manifestWithinMs, signal });
    const reply = await target.upstream.client.statManifest({ ...query, digest });
    if (reply.kind !== 'found') return reply;
    const bytes = await storedElsewhere(parts, reply.value, signal);
    if (bytes) await fileManifest(parts, target, { descriptor: reply.value, bytes });
    else await links.prove(target.place, 'manifest', { ...reply.value, typeUnchecked: true });
    return { kind: 'found', value: { descriptor: reply.value, ...(bytes && { bytes }) } };
  }

  async function fetch(request: Asking): Promise<Reply<Found>> {
    const { target, digest, since, signal } = request;
    const query = queryOf(target, since, { ms: target.upstream.manifestWithinMs, signal });
    const reply = await target.upstream.client.fetchManifest({ ...query, reference: { kind: 'digest', digest } });
    if (reply.kind !== 'absent') return fileFound(target, reply);
    // SEMANTICS 6: a region that gave the tag a moment ago may not know its digest yet; the tag's bytes are verified.
    const tag = recentTagOf(target, digest);
    if (tag === undefined) return reply;
    const byTag = await target.upstream.client.fetchManifest({ ...query, reference: { kind: 'tag', tag } });
    return byTag.kind === 'found' && byTag.value.descriptor.digest === digest ? fileFound(target, byTag) : reply;
  }

  /** What is here, by a proof that has expired. @throws `error` where there is none */
  async function expired({ target, digest, signal }: DigestPull, error: unknown): Promise<Reply<Found>> {
    const link = await unproven(parts, target, { kind: 'manifest', digest, signal, error });
    const bytes = await bytesOfProof(parts, target, { digest, link }, signal);
    if (!bytes) throw error;
    return {
      kind: 'found',
      value: { descriptor: { mediaType: link.mediaType, digest, size: bytes.byteLength }, bytes },
    };
  }

  async function fileFound(target: Target, reply: Reply<FetchedManifest>): Promise<Reply<FetchedManifest>> {
    if (reply.kind === 'found') await fileManifest(parts, target, reply.value);
    return reply;
  }

  return async (request) => {
    const { target, digest, want, signal } = request;
    const link = await links.find(target.place, 'manifest', digest, signal);
    const bytes = link && (await bytesOfProof(parts, target, { digest, link }, signal));
    if (link && bytes) return answerByDigest(link, digest, bytes);

    // Nothing is read for a repository that proved nothing. A HEAD never moves a body; neither does a GET of what is
    // here and only wants its proof.
    const here = !link && (await manifests.has(digest, signal));
    const mode = want === 'descriptor' || here ? 'prove' : 'fetch';
    const key = `${targetKey(target)} ${digest} ${mode}`;
    const since = clock.monotonic();
    const how = mode === 'prove' ? prove : fetch;
    const joins = flights.has(key);
    const asked = await askJointly({
      ...{ target, key, signal },
      ask: (joint) => how({ ...request, since: clock.monotonic(), signal: joint }),
    }).catch(async (error: unknown) => ({ reply: await expired(request, error), collapsed: joins }));
    let { reply } = asked;
    if (want === 'bytes' && reply.kind === 'found' && !reply.value.bytes) reply = await fetch({ ...request, since });
    if (reply.kind !== 'found') {
      throw refusedReply(target, reply, { of: 'manifest-unknown', subject: `manifest ${digest}` });
    }
    return {
      ...reply.value,
      byTag: false,
      cacheStatus: {
        hit: false,
        fwd: here ? 'uri-miss' : 'miss',
        fwdStatus: 200,
        ...(reply.value.bytes && mode === 'fetch' && { stored: true }),
        ...(asked.collapsed && { collapsed: true }),
      },
    };
  };
}
