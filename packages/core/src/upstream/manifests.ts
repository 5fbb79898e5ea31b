import type { Descriptor } from '../oci/descriptor.ts';
import { manifestAccept } from '../oci/media-type.ts';
import type { TagOrDigest } from '../oci/name.ts';
import { type ManifestContext, readManifest, readManifestHead } from './manifest-answer.ts';
import type { Answer, Ask } from './question.ts';
import { interpretHeadRefusal, interpretRefusal, type RefusalContext } from './refusal.ts';
import type { FetchedManifest, Query, Reply, Upstream } from './upstream.ts';

/** The part of an upstream that is about manifests. */
export type Manifests = Pick<Upstream, 'resolve' | 'statManifest' | 'fetchManifest'>;

type ManifestQuery = Query & { reference: TagOrDigest; known?: Descriptor | undefined };

/** Makes the part of an upstream that asks for manifests, always by our own full `Accept`. */
export function createManifests(
  ask: Ask,
  options: { key: string; maxManifestBytes: number; markers: readonly string[] },
): Manifests {
  const { key, maxManifestBytes, markers } = options;

  function contextOf({ repository, reference, known }: ManifestQuery): ManifestContext & RefusalContext {
    const text = reference.kind === 'tag' ? `:${reference.tag}` : `@${reference.digest}`;
    return { key, subject: `${repository}${text}`, maxManifestBytes, markers, known };
  }

  function send(method: 'GET' | 'HEAD', query: ManifestQuery): Promise<Answer> {
    const { repository, reference, scope, caller, sparesQuota, deadlineAt, signal } = query;
    const name = reference.kind === 'tag' ? reference.tag : reference.digest;
    return ask({
      operation: method === 'HEAD' ? 'head' : 'manifest',
      method,
      path: `${repository}/manifests/${name}`,
      headers: { accept: manifestAccept },
      subject: contextOf(query).subject,
      repository,
      scope,
      caller,
      ...(sparesQuota && { sparesQuota }),
      deadlineAt,
      signal,
    });
  }

  async function get(query: ManifestQuery): Promise<Reply<FetchedManifest>> {
    const answer = await send('GET', query);
    const context = contextOf(query);
    if (answer.status !== 200) return await interpretRefusal(answer, context);
    return { kind: 'found', value: await readManifest(answer, query.reference, context) };
  }

  async function head(query: ManifestQuery): ReturnType<Manifests['resolve']> {
    const answer = await send('HEAD', query);
    const context = contextOf(query);
    if (answer.status === 200) {
      const descriptor = readManifestHead(answer, query.reference, context);
      if (descriptor) return { kind: 'found', value: descriptor };
    } else {
      const refusal = interpretHeadRefusal(answer, context);
      if (refusal) return refusal;
    }
    const reply = await get(query);
    if (reply.kind !== 'found') return reply;
    // It was paid for (registries count a GET against their quota), so it is not thrown away.
    return { kind: 'found', value: { ...reply.value.descriptor, bytes: reply.value.bytes } };
  }

  return {
    resolve: ({ tag, ...query }) => head({ ...query, reference: { kind: 'tag', tag } }),
    async statManifest({ digest, ...query }) {
      const reply = await head({ ...query, reference: { kind: 'digest', digest } });
      if (reply.kind !== 'found') return reply;
      const { bytes: _known, ...descriptor } = reply.value;
      return { kind: 'found', value: descriptor };
    },
    fetchManifest: get,
  };
}
