import { spawnSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import { seededBytes, sha256 } from '@proxycache/test-kit';
import { tarOf } from './tar.ts';

/** Bytes with their descriptor (OCI image-spec, descriptor.md). */
export interface Content {
  mediaType: string;
  digest: string;
  size: number;
  bytes: Uint8Array;
}

/** What a tag names: its manifest, and all that must be pushed before it, children first. */
export interface Image {
  manifest: Content;
  children: readonly Content[];
  blobs: readonly Content[];
}

export type Compression = 'none' | 'gzip' | 'zstd';
export type Format = 'oci' | 'docker';

const types = {
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: (compression: Compression) =>
      `application/vnd.oci.image.layer.v1.tar${compression === 'none' ? '' : `+${compression}`}`,
  },
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: () => 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  },
} as const;

/** What an image is made of. */
export interface ImageParts {
  /** Makes its layers unlike those of images with other names. */
  name: string;
  /** What it prints when it runs; another message is another image of the same first layer. */
  message: string;
  /** The program of {@link compileHello}. */
  program: Uint8Array;
  /** Default: this machine's. */
  architecture?: string;
  /** Default `'oci'`. */
  format?: Format;
  /** Default `'gzip'`; Docker's format knows no other. */
  compression?: Compression;
  /** A further layer of random bytes of this length, or one of each of these lengths. Default none. */
  ballast?: number | readonly number[];
}

/** Go's name for this machine's processor, as images have it. */
export const machineArchitecture: string = process.arch === 'x64' ? 'amd64' : process.arch;

/** A Linux image whose /hello prints its message. */
export function buildImage(parts: ImageParts): Image {
  const { format = 'oci', compression = 'gzip', architecture = machineArchitecture, message } = parts;
  const name = { path: 'name', bytes: Buffer.from(parts.name) };
  const archives = [
    tarOf([name, { path: 'hello', bytes: parts.program, mode: 0o755 }]),
    tarOf([name, { path: 'message', bytes: Buffer.from(message) }]),
  ];
  for (const [index, length] of [parts.ballast ?? []].flat().entries()) {
    const [path, seed] = index === 0 ? ['ballast', message] : [`ballast-${index}`, `${message} ${index}`];
    archives.push(tarOf([name, { path, bytes: seededBytes(seed, length) }]));
  }
  const layers = archives.map((archive) => contentOf(types[format].layer(compression), compress(archive, compression)));
  const config = jsonOf(types[format].config, {
    architecture,
    os: 'linux',
    config: { Cmd: ['/hello'], WorkingDir: '/' },
    rootfs: { type: 'layers', diff_ids: archives.map(sha256) },
    history: archives.map(() => ({ created_by: 'test' })),
  });
  const manifest = manifestOf(types[format].manifest, {
    config: descriptorOf(config),
    layers: layers.map(descriptorOf),
  });
  return { manifest, children: [], blobs: [config, ...layers] };
}

/** An entry of an index. Without a platform it is listed as `unknown/unknown`, as attestations are. */
export interface IndexEntry {
  image: Image;
  architecture?: string;
  variant?: string;
  annotations?: Readonly<Record<string, string>>;
}

/** A multi-platform image: an OCI image index or a Docker manifest list. */
export function buildIndex(format: Format, entries: readonly IndexEntry[]): Image {
  const manifests = entries.map(({ image, architecture, variant, annotations }) => ({
    ...descriptorOf(image.manifest),
    platform:
      architecture === undefined
        ? { architecture: 'unknown', os: 'unknown' }
        : { architecture, os: 'linux', ...(variant === undefined ? {} : { variant }) },
    ...(annotations === undefined ? {} : { annotations }),
  }));
  return {
    manifest: manifestOf(types[format].index, { manifests }),
    children: entries.flatMap(({ image }) => [...image.children, image.manifest]),
    blobs: entries.flatMap(({ image }) => image.blobs),
  };
}

/** An artifact with one layer, of a subject where one is given (OCI image-spec, manifest.md). */
export interface ArtifactParts {
  artifactType?: string;
  /** Default: the empty one. */
  config?: Content;
  layer: Content;
  subject?: Content;
}

const emptyConfig = contentOf('application/vnd.oci.empty.v1+json', Buffer.from('{}'));

/** Content that is no image. */
export function buildArtifact({ artifactType, config = emptyConfig, layer, subject }: ArtifactParts): Image {
  const manifest = manifestOf(types.oci.manifest, {
    ...(artifactType === undefined ? {} : { artifactType }),
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
    ...(subject === undefined ? {} : { subject: descriptorOf(subject) }),
    annotations: { 'org.opencontainers.image.created': '2024-01-01T00:00:00Z' },
  });
  return { manifest, children: [], blobs: [config, layer] };
}

/** The index that lists referrers under a tag where a registry has no referrers API (distribution-spec, backwards compatibility). */
export function buildReferrersTag(referrers: readonly Image[]): Image {
  const manifests = referrers.map(({ manifest }) => {
    const { artifactType, annotations } = JSON.parse(Buffer.from(manifest.bytes).toString());
    return { ...descriptorOf(manifest), artifactType, annotations };
  });
  return { manifest: manifestOf(types.oci.index, { manifests }), children: [], blobs: [] };
}

/** The descriptor of some bytes. */
export function contentOf(mediaType: string, bytes: Uint8Array): Content {
  return { mediaType, digest: sha256(bytes), size: bytes.length, bytes };
}

function descriptorOf({ mediaType, digest, size }: Content) {
  return { mediaType, digest, size };
}

function jsonOf(mediaType: string, value: unknown): Content {
  return contentOf(mediaType, Buffer.from(JSON.stringify(value)));
}

function manifestOf(mediaType: string, fields: object): Content {
  return jsonOf(mediaType, { schemaVersion: 2, mediaType, ...fields });
}

function compress(archive: Uint8Array, compression: Compression): Uint8Array {
  if (compression === 'none') return archive;
  if (compression === 'gzip') return gzipSync(archive);
  const { status, stdout, stderr } = spawnSync('zstd', ['-q', '-c'], { input: archive, maxBuffer: 1 << 30 });
  if (status !== 0) throw new Error(`zstd failed: ${stderr}`);
  return stdout;
}
