import { ProxyCacheError } from '../runtime/errors.ts';
import type { Descriptor } from './descriptor.ts';
import { type Digest, isDigest } from './digest.ts';
import { isIndexType, isManifestType, isSchema1Type } from './media-type.ts';

/** What an image runs on (OCI image-spec, image-index.md); `unknown/unknown` marks attestations. */
export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
}

/** A manifest that an index lists. */
export type ChildDescriptor = Descriptor & { platform?: Platform };

/** A config or layer. `foreign`: the manifest names other places to get it from (`urls`), so a registry may lack it. */
export type BlobDescriptor = Descriptor & { foreign: boolean };

/** What a manifest says of itself and of what it needs. The graph only: its bytes are never rebuilt from this. */
export interface ParsedManifest {
  /** Whether it lists manifests, or is one image or artifact. */
  kind: 'index' | 'image';
  /** As the body says; Docker's always do, OCI's may. */
  mediaType?: string;
  children: readonly ChildDescriptor[];
  config?: BlobDescriptor;
  /** The config, where there is one, then the layers; and what an index lists that is no manifest (build caches). */
  blobs: readonly BlobDescriptor[];
  subject?: Digest;
  /** As the body says, else the config's type (OCI distribution-spec, listing referrers). */
  artifactType?: string;
  annotations?: Readonly<Record<string, string>>;
}

type Json = Readonly<Record<string, unknown>>;

const artifactManifest = 'application/vnd.oci.artifact.manifest.v1+json';

/**
 * Reads a manifest or an index. Descriptors by an algorithm that nobody can ask for are left out.
 *
 * @throws ProxyCacheError `manifest-unsupported` for schema 1, for what is both an image and an index
 * (CVE-2021-41190), and for what is no manifest at all
 */
export function parseManifest(bytes: Uint8Array): ParsedManifest {
  const body = parseBody(bytes);
  const mediaType = textOf(body['mediaType']);
  if (isSchema1(body)) {
    throw unsupported('it is a Docker image of schema version 1, which no digest can be checked for; push it again');
  }
  const isIndex = 'manifests' in body;
  if (isIndex && ('layers' in body || 'config' in body)) {
    throw unsupported('it claims to be an index and an image at once (CVE-2021-41190)');
  }
  if (mediaType !== undefined && isManifestType(mediaType) && isIndexType(mediaType) !== isIndex) {
    throw unsupported(`it calls itself ${mediaType} but is built like ${isIndex ? 'an index' : 'an image'}`);
  }
  const listed = descriptorsOf(body, 'manifests');
  const config = 'config' in body ? descriptorOf(body['config'], 'config') : undefined;
  const artifactType = textOf(body['artifactType']) ?? config?.mediaType;
  const subject = 'subject' in body ? descriptorOf(body['subject'], 'subject') : undefined;
  const annotations = annotationsOf(body['annotations']);
  return {
    kind: isIndex ? 'index' : 'image',
    ...(mediaType !== undefined && { mediaType }),
    children: listed.filter(namesManifest).map(asChild),
    ...(config && { config: asBlob(config) }),
    blobs: [
      ...(config ? [config] : []),
      ...descriptorsOf(body, 'layers'),
      ...descriptorsOf(body, 'blobs'),
      ...listed.filter((entry) => !namesManifest(entry)),
    ].map(asBlob),
    ...(subject && { subject: subject.digest }),
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations && { annotations }),
  };
}

/**
 * Whether a manifest may go by a media type: it claims no other one, and is built as the type says (CVE-2021-41190:
 * the same bytes must not be an image to one reader and an index to the next).
 */
export function mayGoBy(manifest: ParsedManifest, mediaType: string): boolean {
  if (manifest.mediaType !== undefined && manifest.mediaType !== mediaType) return false;
  return !isManifestType(mediaType) || isIndexType(mediaType) === (manifest.kind === 'index');
}

type Entry = Descriptor & { json: Json };

function parseBody(bytes: Uint8Array): Json {
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    // The cause is dropped on purpose: its message quotes the text, which may be anything.
    throw unsupported('it is not JSON');
  }
  if (!isObject(body)) throw unsupported('it is not a JSON object');
  if (!['manifests', 'layers', 'config', 'blobs', 'fsLayers', 'subject'].some((key) => key in body)) {
    throw unsupported('it has neither manifests nor layers');
  }
  return body;
}

function isSchema1(body: Json): boolean {
  return body['schemaVersion'] === 1 || 'fsLayers' in body || isSchema1Type(textOf(body['mediaType']) ?? '');
}

function descriptorsOf(body: Json, key: string): Entry[] {
  const list = body[key];
  // Go writes an empty list as null.
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) throw unsupported(`its ${key} are not a list`);
  return list.map((value) => descriptorOf(value, key)).filter((entry) => entry !== undefined);
}

function descriptorOf(value: unknown, key: string): Entry | undefined {
  if (value === null) return undefined;
  if (!isObject(value)) throw unsupported(`its ${key} is not a descriptor`);
  const { mediaType, digest, size } = value;
  if (typeof digest !== 'string' || !Number.isSafeInteger(size) || (size as number) < 0) {
    throw unsupported(`a descriptor in its ${key} has no digest or no size`);
  }
  if (!isDigest(digest)) return undefined;
  return { mediaType: textOf(mediaType) ?? '', digest, size: size as number, json: value };
}

// Build caches list layers in an index: clients ask for those as blobs, by their type.
function namesManifest({ mediaType }: Entry): boolean {
  return mediaType === '' || isManifestType(mediaType) || isSchema1Type(mediaType) || mediaType === artifactManifest;
}

function asChild({ json, ...descriptor }: Entry): ChildDescriptor {
  const platform = json['platform'];
  if (!isObject(platform)) return descriptor;
  const variant = textOf(platform['variant']);
  return {
    ...descriptor,
    platform: {
      os: textOf(platform['os']) ?? 'unknown',
      architecture: textOf(platform['architecture']) ?? 'unknown',
      ...(variant !== undefined && { variant }),
    },
  };
}

function asBlob({ json, ...descriptor }: Entry): BlobDescriptor {
  const urls = json['urls'];
  return { ...descriptor, foreign: Array.isArray(urls) && urls.length > 0 };
}

function annotationsOf(value: unknown): Record<string, string> | undefined {
  if (!isObject(value)) return undefined;
  const texts = Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return Object.fromEntries(texts);
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function unsupported(why: string): ProxyCacheError {
  return new ProxyCacheError('manifest-unsupported', `the manifest cannot be served: ${why}`);
}
