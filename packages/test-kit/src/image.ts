import { createCipheriv, createHash } from 'node:crypto';
import type { Descriptor, Digest } from '@proxycache/core';
import type { Content } from './content.ts';

/** What an image should be like. */
export interface ImageOptions {
  /** Default: none. */
  tag?: string;
  /** `os/architecture` or `os/architecture/variant` each; an index is made of them. Default: one manifest, no index. */
  platforms?: readonly string[];
  /** Bytes of each layer, for every platform. Default 4096 and 1024. */
  layerSizes?: readonly number[];
  /** Docker schema2 media types in place of the OCI ones. Default false. */
  docker?: boolean;
  /** The same seed makes the same bytes, in any repository. Default: the repository's name and the tag. */
  seed?: string | number;
}

/** An image that was added. Where it has platforms, `config` and `layers` are those of the first. */
export interface AddedImage {
  /** What a tag names: the index where there is one, else the manifest. */
  root: Descriptor;
  index?: Descriptor;
  manifests: readonly Descriptor[];
  config: Descriptor;
  layers: readonly Descriptor[];
  /** Configs and layers of all platforms. */
  blobs: readonly Descriptor[];
}

/** What to attach to a subject. */
export interface ReferrerOptions {
  subject: Descriptor;
  artifactType: string;
  annotations?: Readonly<Record<string, string>>;
  /** Whether the index under the tag `sha256-<hex>` lists it too, as pushers do where the API is missing. Default false. */
  fallbackTag?: boolean;
}

const oci = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};
const docker = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
};

/** Bytes that look random and are the same for the same seed. */
export function seededBytes(seed: string | number, size: number): Uint8Array {
  const key = createHash('sha256').update(String(seed)).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

/** Adds an image of made-up layers: right digests, sizes and types, nothing to run. */
export function addImage(content: Content, repository: string, options: ImageOptions = {}): AddedImage {
  const { tag, platforms, layerSizes = [4096, 1024], seed = `${repository}:${tag}` } = options;
  const types = options.docker ? docker : oci;

  function putBlob(mediaType: string, bytes: Uint8Array): Descriptor {
    return { mediaType, digest: content.putBlob(repository, bytes), size: bytes.byteLength };
  }
  function putManifest(platform: string): { manifest: Descriptor; config: Descriptor; layers: Descriptor[] } {
    const layers = layerSizes.map((size, i) => putBlob(types.layer, seededBytes(`${seed} ${platform} ${i}`, size)));
    const config = putBlob(
      types.config,
      Buffer.from(
        JSON.stringify({
          ...platformOf(platform),
          config: { Labels: { seed: String(seed) } },
          rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
        }),
      ),
    );
    const body = { schemaVersion: 2, mediaType: types.manifest, config, layers };
    return { manifest: content.putManifest(repository, body), config, layers };
  }

  const images = (platforms ?? ['linux/amd64']).map(putManifest);
  const [first] = images;
  if (!first) throw new Error('addImage: platforms is empty; leave it out for an image without an index');
  const manifests = images.map((image) => image.manifest);
  const index = platforms && content.putManifest(repository, indexOf(types.index, manifests, platforms));
  const root = index ?? first.manifest;
  if (tag !== undefined) content.tag(repository, tag, root.digest);
  return {
    root,
    ...(index && { index }),
    manifests,
    config: first.config,
    layers: first.layers,
    blobs: images.flatMap((image) => [image.config, ...image.layers]),
  };
}

/** Attaches an artifact (a signature, an SBOM) to a manifest. */
export function addReferrer(content: Content, repository: string, options: ReferrerOptions): Descriptor {
  const { subject, artifactType, annotations, fallbackTag } = options;
  const empty = content.putBlob(repository, '{}');
  const config: Descriptor = { mediaType: 'application/vnd.oci.empty.v1+json', digest: empty, size: 2 };
  const body = { schemaVersion: 2, mediaType: oci.manifest, artifactType, config, layers: [config], subject };
  const added = content.putManifest(repository, annotations ? { ...body, annotations } : body);
  if (fallbackTag) {
    const manifests = content.referrers(repository, subject.digest);
    content.putManifest(
      repository,
      { schemaVersion: 2, mediaType: oci.index, manifests },
      { tags: [subject.digest.replace(':', '-')] },
    );
  }
  return added;
}

function indexOf(mediaType: string, manifests: readonly Descriptor[], platforms: readonly string[]): object {
  const listed = manifests.map((manifest, i) => ({ ...manifest, platform: platformOf(platforms[i] ?? '') }));
  return { schemaVersion: 2, mediaType, manifests: listed };
}

function platformOf(platform: string): { os?: string; architecture?: string; variant?: string } {
  const [os = '', architecture = '', variant] = platform.split('/');
  return variant ? { os, architecture, variant } : { os, architecture };
}

/** A digest of nothing that exists. */
export function absentDigest(seed: string | number = 'absent'): Digest {
  return `sha256:${createHash('sha256').update(`absent ${seed}`).digest('hex')}`;
}
