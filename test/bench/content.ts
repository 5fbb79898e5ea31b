import { createCipheriv, createHash, type Hash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const MiB = 1024 * 1024;

/** A blob or manifest of the benchmark, as a file. */
export interface StoredContent {
  digest: string;
  size: number;
  file: string;
}

/** An image: what a client asks for, in its order. */
export interface Image {
  repository: string;
  tag: string;
  manifest: StoredContent;
  config: StoredContent;
  layers: readonly StoredContent[];
}

/** The content that everybody serves, in a folder. It grows: what a part needs is made when it is first asked for. */
export interface Content {
  /** Holds `blobs/<digest>`, `manifests/<digest>` and `tags/<repository with + for />`, in which a digest stands. */
  folder: string;
  /** An image whose layers have these sizes in bytes, with bytes of its own. The same one for the same repository. */
  image(repository: string, sizes: readonly number[]): Image;
  images(): readonly Image[];
}

/** Starts with nothing. The same repositories and sizes give the same digests. */
export function createContent(folder: string): Content {
  const images = new Map<string, Image>();
  mkdirSync(join(folder, 'blobs'), { recursive: true });
  mkdirSync(join(folder, 'manifests'));
  mkdirSync(join(folder, 'tags'));
  return {
    folder,
    image(repository, sizes) {
      const made = images.get(repository) ?? makeImage(folder, repository, sizes);
      images.set(repository, made);
      return made;
    },
    images: () => [...images.values()],
  };
}

function makeImage(folder: string, repository: string, sizes: readonly number[]): Image {
  const layers = sizes.map((size, index) => writeNoise(folder, `${repository} ${index}`, size));
  const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) };
  const config = writeText(join(folder, 'blobs'), JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs }));
  const descriptor = (mediaType: string, { digest, size }: StoredContent) => ({ mediaType, digest, size });
  const text = JSON.stringify({
    schemaVersion: 2,
    mediaType: manifestType,
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: layers.map((layer) => descriptor('application/vnd.oci.image.layer.v1.tar', layer)),
    annotations: { 'org.example.repository': repository },
  });
  const manifest = writeText(join(folder, 'manifests'), text);
  writeFileSync(join(folder, 'tags', repository.replaceAll('/', '+')), manifest.digest);
  return { repository, tag: 'latest', manifest, config, layers };
}

/** The path of a manifest, by its digest or another reference. */
export function manifestPath({ repository, manifest }: Image, reference: string = manifest.digest): string {
  return `/v2/${repository}/manifests/${reference}`;
}

export function blobPath({ repository }: Image, { digest }: StoredContent): string {
  return `/v2/${repository}/blobs/${digest}`;
}

function writeText(folder: string, text: string): StoredContent {
  const digest = named(createHash('sha256').update(text));
  const file = join(folder, digest);
  writeFileSync(file, text);
  return { digest, size: Buffer.byteLength(text), file };
}

/** Bytes that do not compress, made from a seed. */
function writeNoise(folder: string, seed: string, size: number): StoredContent {
  const cipher = createCipheriv(
    'aes-128-ctr',
    createHash('sha256').update(seed).digest().subarray(0, 16),
    Buffer.alloc(16),
  );
  const zeros = Buffer.alloc(Math.min(size, MiB));
  const hash = createHash('sha256');
  const unnamed = join(folder, 'blobs', `unnamed-${createHash('sha256').update(seed).digest('hex')}`);
  const descriptor = openSync(unnamed, 'wx');
  for (let left = size; left > 0; left -= zeros.length) {
    const bytes = cipher.update(zeros.subarray(0, left));
    hash.update(bytes);
    writeSync(descriptor, bytes);
  }
  closeSync(descriptor);
  const digest = named(hash);
  const file = join(folder, 'blobs', digest);
  renameSync(unnamed, file);
  return { digest, size, file };
}

const named = (hash: Hash) => `sha256:${hash.digest('hex')}`;
