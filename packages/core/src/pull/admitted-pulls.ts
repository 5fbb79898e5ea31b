import type { Admission } from '../admission/admission.ts';
import type { Asker } from '../admission/asker.ts';
import type { RepositoryContent } from '../admission/question.ts';
import type { Asking } from '../admission/verdicts.ts';
import { digestAlgorithm, digestOf } from '../oci/digest.ts';
import type { TagOrDigest } from '../oci/name.ts';
import { collect } from '../runtime/bytes.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { ManifestAnswer } from './answer.ts';
import type { ListReferrers } from './list-referrers.ts';
import type { Pulls } from './noted-pulls.ts';
import type { Target } from './target.ts';

/** The longest config, or other blob, that a policy is shown. */
const mostShown = 4 * 1024 * 1024;

/**
 * The same pulls for clients: nothing is answered before it was let pass. A HEAD is answered as a GET would be, so that its
 * manifest is brought in to be judged.
 *
 * @param within what policies look at, which is nothing that a client gets
 */
export function admittedPulls(pulls: Pulls, admission: Admission, listReferrers: ListReferrers): Pulls {
  function contentOf(target: Target): RepositoryContent {
    return {
      async manifest(reference, signal) {
        const pull = { target, want: 'bytes', signal } as const;
        const { descriptor, bytes } =
          reference.kind === 'digest'
            ? await pulls.pullDigest({ ...pull, digest: reference.digest })
            : await pulls.pullTag.pull({ ...pull, tag: reference.tag });
        if (!bytes) throw new TypeError('a manifest was answered without its bytes');
        return { descriptor, bytes };
      },
      async blob(digest, signal) {
        const blob = await pulls.pullBlob({ target, digest, want: 'bytes', signal });
        try {
          const bytes = (blob.size ?? 0) > mostShown ? undefined : await collect(blob.read(), mostShown);
          if (!bytes) throw new Error(`${digest} has more than ${mostShown} bytes, which is too much to look at`);
          // What was passed through unverified is no evidence.
          if (digestOf(bytes, digestAlgorithm(digest)) === digest) return bytes;
          throw new ProxyCacheError('digest-mismatch', `${digest} came with other bytes`);
        } finally {
          await blob.close();
        }
      },
      async referrers(digest, signal) {
        const { manifests } = await listReferrers({ target, digest, signal });
        return manifests;
      },
    };
  }

  function askingOf({
    target,
    asker,
    signal,
  }: {
    target: Target;
    asker?: Asker | undefined;
    signal: AbortSignal;
  }): Asking {
    return { place: target.place, asker, content: contentOf(target), signal };
  }

  const isJudged = ({ upstream }: Target) => admission.judges(upstream.key);

  async function admitted(asking: Asking, reference: TagOrDigest, answer: ManifestAnswer): Promise<ManifestAnswer> {
    const { descriptor, bytes } = answer;
    if (!bytes) throw new TypeError('a manifest was answered without its bytes');
    await admission.manifest(asking, { reference, found: { descriptor, bytes } });
    return answer;
  }

  return {
    heldManifests(target, reference) {
      const find = pulls.heldManifests(target, reference);
      if (!isJudged(target)) return find;
      const passes = admission.passes(target.place, reference);
      return (want, now) => {
        const answer = find(want, now);
        return answer && passes(answer.descriptor.digest) ? answer : undefined;
      };
    },
    // Who asks for one that is judged is asked about first.
    heldBlobs: (target, digest) => (isJudged(target) ? () => undefined : pulls.heldBlobs(target, digest)),
    pullTag: {
      recentTagOf: pulls.pullTag.recentTagOf,
      async pull(request) {
        if (!isJudged(request.target)) return pulls.pullTag.pull(request);
        const answer = await pulls.pullTag.pull({ ...request, want: 'bytes' });
        return admitted(askingOf(request), { kind: 'tag', tag: request.tag }, answer);
      },
    },
    async pullDigest(request) {
      const { digest } = request;
      if (!isJudged(request.target)) return pulls.pullDigest(request);
      const answer = await pulls.pullDigest({ ...request, want: 'bytes' });
      return admitted(askingOf(request), { kind: 'digest', digest }, answer);
    },
    async pullBlob(request) {
      if (isJudged(request.target)) await admission.blob(askingOf(request), request.digest);
      return await pulls.pullBlob(request);
    },
  };
}
