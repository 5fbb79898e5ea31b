import type { Usage } from '../retention/usage.ts';
import type { Use } from '../retention/use.ts';
import type { HeldBlobs } from './held-blobs.ts';
import type { HeldManifests } from './held-manifests.ts';
import type { PullBlob } from './pull-blob.ts';
import type { PullDigest } from './pull-digest.ts';
import type { PullTag } from './pull-tag.ts';
import type { Target } from './target.ts';

/** The pulls of a cache. */
export interface Pulls {
  heldManifests: HeldManifests;
  heldBlobs: HeldBlobs;
  pullTag: PullTag;
  pullDigest: PullDigest;
  pullBlob: PullBlob;
}

/** What notes uses. */
export type NotesUses = Pick<Usage, 'of' | 'note'> & { now(): number };

/**
 * The same pulls, each of which is a use of what it answers with: of the tag and of the manifest that it stands for, which
 * somebody may go on with when the tag has moved on.
 */
export function notedPulls(pulls: Pulls, usage: NotesUses): Pulls {
  const { of, note, now } = usage;
  const manifestOf = ({ place }: Target, digest: string) => of({ place, kind: 'manifest', tagOrDigest: digest });
  const blobOf = ({ place }: Target, digest: string) => of({ place, kind: 'blob', tagOrDigest: digest });
  const tagOf = ({ place }: Target, tag: string) => of({ place, kind: 'tag', tagOrDigest: tag });

  return {
    heldManifests(target, reference) {
      const find = pulls.heldManifests(target, reference);
      let tagUse: Use | undefined;
      let manifestUse: Use | undefined;
      return (want, at) => {
        const answer = find(want, at);
        if (!answer) return undefined;
        const { digest } = answer.descriptor;
        if (manifestUse?.used.tagOrDigest !== digest) manifestUse = manifestOf(target, digest);
        note(manifestUse, at);
        if (reference.kind === 'tag') {
          tagUse ??= tagOf(target, reference.tag);
          note(tagUse, at);
        }
        return answer;
      };
    },
    heldBlobs(target, digest) {
      const open = pulls.heldBlobs(target, digest);
      let use: Use | undefined;
      return () => {
        const blob = open();
        if (!blob) return undefined;
        use ??= blobOf(target, digest);
        note(use, now());
        return blob;
      };
    },
    pullTag: {
      recentTagOf: pulls.pullTag.recentTagOf,
      async pull(request) {
        const answer = await pulls.pullTag.pull(request);
        note(tagOf(request.target, request.tag), now());
        note(manifestOf(request.target, answer.descriptor.digest), now());
        return answer;
      },
    },
    async pullDigest(request) {
      const answer = await pulls.pullDigest(request);
      note(manifestOf(request.target, request.digest), now());
      return answer;
    },
    async pullBlob(request) {
      const answer = await pulls.pullBlob(request);
      note(blobOf(request.target, request.digest), now());
      return answer;
    },
  };
}
