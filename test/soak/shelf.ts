import type { Descriptor, Digest } from '@proxycache/core';
import { type FakeUpstream, seededBytes, sha256 } from '@proxycache/test-kit';
import type { Random } from './random.ts';

/** What a tag stood for from `seq` on; without a digest it was gone. */
export interface Version {
  digest: Digest | undefined;
  seq: number;
  at: number;
}

/** An image that is, or lately was, on the shelf. */
export interface ShelfImage {
  repository: string;
  root: Descriptor;
  /** The root first. */
  manifests: readonly Descriptor[];
  blobs: readonly Descriptor[];
  referrers: Digest[];
}

/** What the upstreams hold, the same in each, and what they ever held. It moves while the run goes on. */
export interface Shelf {
  readonly repositories: readonly string[];
  readonly tags: readonly string[];
  /** Newest last. */
  images(): readonly ShelfImage[];
  /** Makes one random change. Answers what it was. */
  move(): string;
  /** The bytes of a manifest or blob of {@link images}. */
  bytes(digest: string): Uint8Array | undefined;
  everHeld(repository: string, digest: string): boolean;
  versions(repository: string, tag: string): readonly Version[];
  /** Whether a repository held this digest from `seq` until now. */
  heldSince(repository: string, digest: string, seq: number): boolean;
  /** Whether there was a moment since `seq` at which it did not. */
  lackedSince(repository: string, digest: string, seq: number): boolean;
  /** How many bytes all this takes in memory: of the registries, and of the shelf itself. */
  weight(): number;
  /** What a repository's lists say now. */
  listed(repository: string): readonly string[];
  referrers(repository: string, digest: string): readonly string[];
  /** When something of a repository last changed. */
  changedAt(repository: string): number;
}

const KiB = 1024;
const sizes = [0, 700, 4 * KiB, 33 * KiB, 200 * KiB, 1024 * KiB, 1024 * KiB + 1, 1700 * KiB, 2500 * KiB, 3000 * KiB];
const poolSize = 24;
const mostImages = 36;
const repositories = ['team/app', 'team/tools', 'library/base'];
const tags = ['1', '2', 'latest', 'edge'];

/** @param stamp a number that grows with each call, and the clock */
export function createShelf(
  registries: readonly FakeUpstream[],
  random: Random,
  stamp: () => { seq: number; at: number },
): Shelf {
  let made = 0;
  let images: ShelfImage[] = [];
  const known = new Map<string, Uint8Array>();
  const ever = new Set<string>();
  const history = new Map<string, Version[]>();
  // Per repository and digest: since when it is there, or since when it is not.
  const presence = new Map<string, { held: boolean; seq: number }>();
  const changes = new Map<string, number>();

  const newBlob = (): Buffer => Buffer.from(seededBytes(`${random.seed} ${made++}`, random.pick(sizes)));
  const pool = Array.from({ length: poolSize }, newBlob);

  let held = 0;

  function hold(repository: string, digest: Digest, isHeld: boolean): void {
    const key = `${repository} ${digest}`;
    if (isHeld) ever.add(key);
    if ((presence.get(key)?.held ?? false) === isHeld) return;
    presence.set(key, { held: isHeld, seq: stamp().seq });
    held += (isHeld ? 1 : -1) * registries.length * (known.get(digest)?.byteLength ?? 0);
  }

  function point(repository: string, tag: string, digest: Digest | undefined): void {
    const key = `${repository}:${tag}`;
    history.set(key, [...(history.get(key) ?? []).slice(-30), { digest, ...stamp() }]);
    for (const registry of registries) {
      if (digest === undefined) registry.removeTag(repository, tag);
      else registry.tag(repository, tag, digest);
    }
  }

  function putBlob(repository: string, bytes: Uint8Array): Descriptor {
    const digest = sha256(bytes);
    for (const registry of registries) registry.putBlob(repository, bytes);
    known.set(digest, bytes);
    hold(repository, digest, true);
    return { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: bytes.byteLength };
  }

  function putManifest(repository: string, body: object): Descriptor {
    const bytes = Buffer.from(JSON.stringify(body));
    const [descriptor] = registries.map((registry) => registry.putManifest(repository, bytes));
    known.set(descriptor!.digest, bytes);
    hold(repository, descriptor!.digest, true);
    return descriptor!;
  }

  const types = {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
  };

  function putImage(repository: string): { manifest: Descriptor; blobs: Descriptor[] } {
    if (random.chance(0.3)) pool[random.int(poolSize)] = newBlob();
    const layers = Array.from({ length: random.between(1, 3) }, () => putBlob(repository, random.pick(pool)));
    const config = {
      ...putBlob(repository, Buffer.from(`{"made":"${random.seed} ${made++}"}`)),
      mediaType: types.config,
    };
    const manifest = putManifest(repository, { schemaVersion: 2, mediaType: types.manifest, config, layers });
    return { manifest, blobs: [config, ...layers] };
  }

  function publish(): ShelfImage {
    const repository = random.pick(repositories);
    const parts = Array.from({ length: random.chance(0.4) ? 2 : 1 }, () => putImage(repository));
    const manifests = parts.map(({ manifest }) => manifest);
    const platforms = [
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'arm64' },
    ];
    const listed = manifests.map((manifest, i) => ({ ...manifest, platform: platforms[i] }));
    const index =
      parts.length > 1
        ? putManifest(repository, { schemaVersion: 2, mediaType: types.index, manifests: listed })
        : undefined;
    const image: ShelfImage = {
      repository,
      root: index ?? manifests[0]!,
      manifests: index ? [index, ...manifests] : manifests,
      blobs: parts.flatMap(({ blobs }) => blobs),
      referrers: [],
    };
    images.push(image);
    point(repository, random.pick(tags), image.root.digest);
    if (images.length > mostImages) forget(images[0]!);
    return image;
  }

  /** Takes an image away, and what no other image of its repository has. */
  function remove(image: ShelfImage): void {
    const others = images.filter((other) => other !== image && other.repository === image.repository && isHeld(other));
    const kept = new Set(
      others.flatMap(({ manifests, blobs }) => [...manifests, ...blobs].map(({ digest }) => digest)),
    );
    const { repository } = image;
    for (const tag of tags) {
      if (history.get(`${repository}:${tag}`)?.at(-1)?.digest === image.root.digest) point(repository, tag, undefined);
    }
    for (const { digest } of image.manifests) {
      for (const registry of registries) registry.removeManifest(repository, digest);
      hold(repository, digest, false);
    }
    for (const digest of image.referrers) {
      for (const registry of registries) registry.removeManifest(repository, digest);
    }
    for (const { digest } of image.blobs) {
      if (kept.has(digest)) continue;
      for (const registry of registries) registry.removeBlob(repository, digest);
      hold(repository, digest, false);
    }
  }

  function forget(image: ShelfImage): void {
    if (isHeld(image)) remove(image);
    images = images.filter((other) => other !== image);
    const kept = new Set(
      images.flatMap(({ manifests, blobs }) => [...manifests, ...blobs].map(({ digest }) => digest)),
    );
    for (const { digest } of [...image.manifests, ...image.blobs]) if (!kept.has(digest)) known.delete(digest);
  }

  const isHeld = (image: ShelfImage) => presence.get(`${image.repository} ${image.root.digest}`)?.held === true;

  function attach(image: ShelfImage): void {
    const artifactType = random.pick(['application/signature', 'application/sbom']);
    const annotations = { made: String(made++) };
    for (const [i, registry] of registries.entries()) {
      const added = registry.addReferrer(image.repository, { subject: image.root, artifactType, annotations });
      if (i === 0) image.referrers.push(added.digest);
    }
  }

  function move(): string {
    const alive = images.filter(isHeld);
    const kind =
      alive.length < 6 ? 'publish' : random.weighted({ publish: 5, retag: 2, untag: 1, remove: 1, attach: 1 });
    const image = kind === 'publish' ? publish() : random.pick(alive);
    const { repository } = image;
    changes.set(repository, stamp().seq);
    if (kind === 'retag') point(repository, random.pick(tags), image.root.digest);
    else if (kind === 'untag') point(repository, random.pick(tags), undefined);
    else if (kind === 'remove') remove(image);
    else if (kind === 'attach') attach(image);
    return `${kind} ${repository} ${image.root.digest.slice(7, 15)}`;
  }

  for (let i = 0; i < 10; i++) move();
  return {
    repositories,
    tags,
    images: () => images,
    move,
    bytes: (digest) => known.get(digest),
    everHeld: (repository, digest) => ever.has(`${repository} ${digest}`),
    versions: (repository, tag) => history.get(`${repository}:${tag}`) ?? [],
    heldSince(repository, digest, seq) {
      const now = presence.get(`${repository} ${digest}`);
      return now?.held === true && now.seq <= seq;
    },
    lackedSince(repository, digest, seq) {
      const now = presence.get(`${repository} ${digest}`);
      return now?.held !== true || now.seq > seq;
    },
    // A blob of the pool may be in no image at the moment, and is in memory all the same.
    weight: () => [...new Set([...known.values(), ...pool])].reduce((sum, bytes) => sum + bytes.byteLength, held),
    listed: (repository) => registries[0]!.tags(repository),
    referrers: (repository, digest) =>
      registries[0]!.referrers(repository, digest).map((entry) => String(entry['digest'])),
    changedAt: (repository) => changes.get(repository) ?? 0,
  };
}
