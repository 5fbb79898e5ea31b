import type { Digest } from '../oci/digest.ts';
import { keyOf, textOf } from './keys.ts';
import type { Place } from './place.ts';
import { createRecords, type Records, type RecordsParts } from './records.ts';

/** What some content is asked for as; a digest may be both, and each wants a proof of its own. */
export type ContentKind = 'manifest' | 'blob';

/** What an upstream repository's own answer proved: that it holds this content. Never inferred from a manifest. */
export interface Link {
  /** `application/octet-stream` for blobs. */
  mediaType: string;
  /** The type is the word of a HEAD, and still to be held against the bytes. Missing in records of older releases too. */
  typeUnchecked?: true;
  /** In bytes; missing where the upstream did not say. */
  size?: number;
  /** Ms since the epoch. */
  provenAt: number;
  /** The upstream's URL and credential at that time; see {@link Place.generation}. */
  generation: string;
}

/** Which repository may serve what: bytes are shared by digest, permission is not. */
export interface Links {
  /** Looks for the same in memory, now and later. `undefined` says nothing: {@link find} may know of a proof. */
  lookup(place: Place, kind: ContentKind, digest: Digest): () => Link | undefined;
  /** The proof for this content, where there is one that still holds. One that cannot be read is none. */
  find(place: Place, kind: ContentKind, digest: Digest, signal: AbortSignal): Promise<Link | undefined>;
  /** The same, also where it has expired: good for nothing but an upstream that cannot say whether it still holds. */
  findExpired(place: Place, kind: ContentKind, digest: Digest, signal: AbortSignal): Promise<Link | undefined>;
  /**
   * Writes a proof down, which is in the store when the promise resolves; for a new one {@link find} waits. Never rejects.
   * Nothing is written where the place's term is over: nobody knows to whom it was proved.
   */
  prove(
    place: Place,
    kind: ContentKind,
    content: Pick<Link, 'mediaType' | 'typeUnchecked'> & { digest: Digest; size?: number | undefined },
  ): Promise<void>;
  /** Notes that the bytes of a manifest may go by the type of its proof, which grows no younger by that. Never rejects. */
  typeChecked(place: Place, manifest: { digest: Digest; mediaType: string }): Promise<void>;
  /** By the key in the store. See {@link Records.remove}. */
  remove: Records<Link>['remove'];
  /** By the beginnings of keys. See {@link Records.forget}. */
  forget: Records<Link>['forget'];
  settled(): Promise<void>;
}

/** @param validForMs how long proofs of an upstream hold */
export function createLinks(parts: RecordsParts & { validForMs(upstream: string): number }, most: number): Links {
  const records = createRecords<Link>(parts, most, { isNews });
  const linkKey = ({ upstream, scope, repository }: Place, kind: ContentKind, digest: Digest) =>
    keyOf('link', upstream, scope, repository, `${kind}.${digest}`);

  const ofPlace = (link: Link | undefined, place: Place) => (link?.generation === place.generation ? link : undefined);

  /** One that holds still, and is proven again, need not be waited for. */
  function isNews(before: Link, after: Link, key: string): boolean {
    const [, upstream = ''] = key.split('/');
    const isOther = before.generation !== after.generation || before.mediaType !== after.mediaType;
    return isOther || after.provenAt - before.provenAt > parts.validForMs(textOf(upstream) ?? '');
  }

  function holding(found: Link | undefined, place: Place): Link | undefined {
    const link = ofPlace(found, place);
    if (!link) return undefined;
    const validFor = parts.validForMs(place.upstream);
    if (validFor === Number.POSITIVE_INFINITY) return link;
    const age = parts.clock.now() - link.provenAt;
    // A clock that stepped back cannot tell how old a proof is; it must not make one hold for longer.
    return age >= 0 && age <= validFor ? link : undefined;
  }

  return {
    lookup(place, kind, digest) {
      const key = linkKey(place, kind, digest);
      return () => holding(records.held(key), place);
    },
    async find(place, kind, digest, signal) {
      return holding(await records.get(linkKey(place, kind, digest), signal), place);
    },
    async findExpired(place, kind, digest, signal) {
      return ofPlace(await records.get(linkKey(place, kind, digest), signal), place);
    },
    async prove(place, kind, { digest, mediaType, typeUnchecked, size }) {
      if (place.term?.isOver) return;
      const provenAt = parts.clock.now();
      await records.update(linkKey(place, kind, digest), () => ({
        mediaType,
        ...(typeUnchecked && { typeUnchecked }),
        ...(size !== undefined && { size }),
        provenAt,
        generation: place.generation,
      }));
    },
    typeChecked(place, { digest, mediaType }) {
      return records.update(linkKey(place, 'manifest', digest), (link) => {
        if (!link?.typeUnchecked || link.mediaType !== mediaType) return undefined;
        const { typeUnchecked: _checked, ...proof } = link;
        return proof;
      });
    },
    remove: records.remove,
    forget: records.forget,
    settled: records.settled,
  };
}
