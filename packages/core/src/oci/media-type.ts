/** The manifest types we ask upstreams for: OCI and Docker schema2, single and multi-platform. Never schema1. */
export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  blob: 'application/octet-stream',
} as const;

/**
 * The `Accept` of every manifest request we send. Always the whole list: a registry answers 404 or converts to another
 * digest when the stored type is missing from it.
 */
export const manifestAccept: string = [
  mediaTypes.ociIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerList,
  mediaTypes.dockerManifest,
].join(', ');

/** Whether manifests of this type list other manifests. */
export function isIndexType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerList;
}

/** Whether this is one of the manifest types we ask for. */
export function isManifestType(mediaType: string): boolean {
  return isIndexType(mediaType) || mediaType === mediaTypes.ociManifest || mediaType === mediaTypes.dockerManifest;
}

/** Docker's image manifest version 1, signed or not: not content-addressable as served, so never cached. */
export function isSchema1Type(mediaType: string): boolean {
  return mediaType.startsWith('application/vnd.docker.distribution.manifest.v1+');
}

/** The type of a `Content-Type` header, without parameters and in lowercase; `''` without one. */
export function essenceOf(contentType: string | null | undefined): string {
  return (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}
