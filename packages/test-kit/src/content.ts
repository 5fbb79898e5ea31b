import { createHash } from 'node:crypto';
import type { Descriptor, Digest } from '@proxycache/core';

/** A manifest as a registry keeps it: verbatim bytes and their type. */
interface StoredManifest {
  mediaType: string;
  bytes: Uint8Array;
}

/** What one repository of a registry holds. Repositories share nothing. */
interface Repository {
  blobs: Map<Digest, Uint8Array>;
  manifests: Map<Digest, StoredManifest>;
  tags: Map<string, Digest>;
}

/** The parts of a manifest that a registry looks at. */
interface ManifestFields {
  mediaType?: string;
  artifactType?: string;
  config?: { mediaType?: string };
  subject?: { digest?: string };
  annotations?: Record<string, string>;
}

/** The content of a registry, to be changed while it runs. */
export interface Content {
  /** Stores a blob in one repository, which comes into being with it. */
  putBlob(repository: string, bytes: Uint8Array | string): Digest;
  /**
   * Stores a manifest: bytes as they are, anything else as JSON.
   *
   * @param options.mediaType default: the manifest's own `mediaType`, else that of an OCI image manifest
   */
  putManifest(
    repository: string,
    manifest: Uint8Array | object,
    options?: { mediaType?: string; tags?: readonly string[] },
  ): Descriptor;
  /** Points a tag at a digest, present or not. */
  tag(repository: string, tag: string, digest: Digest): void;
  removeTag(repository: string, tag: string): void;
  removeManifest(repository: string, digest: Digest): void;
  removeBlob(repository: string, digest: Digest): void;
  removeRepository(repository: string): void;
  hasRepository(repository: string): boolean;
  /** A manifest by tag or digest. */
  manifest(repository: string, reference: string): (StoredManifest & { digest: Digest }) | undefined;
  blob(repository: string, digest: string): Uint8Array | undefined;
  /** In order of their code units. */
  tags(repository: string): readonly string[];
  /** Descriptors of the manifests that name this subject, in order of their digests. */
  referrers(repository: string, subject: string): readonly Readonly<Record<string, unknown>>[];
}

/** `sha256:` and the hash of these bytes. */
export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Makes a registry's content, empty. */
export function createContent(): Content {
  const repositories = new Map<string, Repository>();

  function at(name: string): Repository {
    const found = repositories.get(name) ?? { blobs: new Map(), manifests: new Map(), tags: new Map() };
    repositories.set(name, found);
    return found;
  }

  return {
    putBlob(repository, content) {
      const bytes = Buffer.from(content);
      const digest = sha256(bytes);
      at(repository).blobs.set(digest, bytes);
      return digest;
    },
    putManifest(repository, manifest, options = {}) {
      const bytes = manifest instanceof Uint8Array ? Buffer.from(manifest) : Buffer.from(JSON.stringify(manifest));
      const mediaType = options.mediaType ?? fieldsOf(bytes).mediaType ?? 'application/vnd.oci.image.manifest.v1+json';
      const digest = sha256(bytes);
      at(repository).manifests.set(digest, { mediaType, bytes });
      for (const tag of options.tags ?? []) at(repository).tags.set(tag, digest);
      return { mediaType, digest, size: bytes.byteLength };
    },
    tag: (repository, tag, digest) => void at(repository).tags.set(tag, digest),
    removeTag: (repository, tag) => void repositories.get(repository)?.tags.delete(tag),
    removeManifest: (repository, digest) => void repositories.get(repository)?.manifests.delete(digest),
    removeBlob: (repository, digest) => void repositories.get(repository)?.blobs.delete(digest),
    removeRepository: (repository) => void repositories.delete(repository),
    hasRepository: (repository) => repositories.has(repository),
    manifest(repository, reference) {
      const found = repositories.get(repository);
      const digest = reference.includes(':') ? (reference as Digest) : found?.tags.get(reference);
      const manifest = digest && found?.manifests.get(digest);
      return manifest && { ...manifest, digest };
    },
    blob: (repository, digest) => repositories.get(repository)?.blobs.get(digest as Digest),
    tags: (repository) => [...(repositories.get(repository)?.tags.keys() ?? [])].sort(),
    referrers(repository, subject) {
      const found: Record<string, unknown>[] = [];
      for (const [digest, { mediaType, bytes }] of repositories.get(repository)?.manifests ?? []) {
        const fields = fieldsOf(bytes);
        if (fields.subject?.digest === subject) found.push(referrerOf(fields, mediaType, digest, bytes.byteLength));
      }
      return found.sort((a, b) => (String(a['digest']) < String(b['digest']) ? -1 : 1));
    },
  };
}

// OCI distribution-spec, listing referrers: an artifactType that is missing is the config's type.
function referrerOf(fields: ManifestFields, mediaType: string, digest: Digest, size: number): Record<string, unknown> {
  const artifactType = fields.artifactType ?? fields.config?.mediaType;
  const { annotations } = fields;
  return { mediaType, digest, size, ...(artifactType && { artifactType }), ...(annotations && { annotations }) };
}

function fieldsOf(bytes: Uint8Array): ManifestFields {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(bytes).toString());
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}
