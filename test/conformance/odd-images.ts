import { seededBytes } from '@proxycache/test-kit';
import { buildArtifact, buildIndex, type Content, contentOf, type Image } from '../peers/image-builder.ts';

const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** An image whose manifest has further fields, and is written as the text that `write` makes of it. */
function odd(image: Image, change: object, write: (manifest: object) => string = (all) => JSON.stringify(all)): Image {
  const fields = JSON.parse(Buffer.from(image.manifest.bytes).toString());
  return { ...image, manifest: contentOf(image.manifest.mediaType, Buffer.from(write({ ...fields, ...change }))) };
}

const layerOf = (name: string, bytes: Uint8Array): Image =>
  buildArtifact({
    artifactType: `application/vnd.example.${name}`,
    layer: contentOf('application/octet-stream', bytes),
  });
const some = (name: string) => layerOf(name, seededBytes(name, 700));

/** A descriptor with the bytes themselves (OCI image-spec, descriptor.md: `data`). */
const withData = ({ mediaType, digest, size, bytes }: Content) => ({
  mediaType,
  digest,
  size,
  data: Buffer.from(bytes).toString('base64'),
});

/**
 * The kinds of content that the conformance suite pushes beside plain images: all that a registry has to give back as it
 * was, whatever it thinks of it.
 */
export function oddImages(plain: Image): Readonly<Record<string, Image>> {
  const nested = buildIndex('oci', [
    { image: some('nested-a'), architecture: 'amd64' },
    { image: some('nested-b'), architecture: 'arm64' },
  ]);
  const empty = layerOf('empty-blob', new Uint8Array());
  const [config] = plain.blobs as [Content];
  return {
    // 3.9 MB, near the 4 MiB that registries are to take at least (OCI distribution-spec, #pushing-manifests).
    'large-manifest': odd(some('large'), {
      annotations: Object.fromEntries(Array.from({ length: 390 }, (_, i) => [`annotation-${i}`, 'A'.repeat(10_000)])),
    }),
    'nested-index': buildIndex('oci', [{ image: nested }]),
    'empty-index': buildIndex('oci', []),
    'no-layers': { ...odd(plain, { layers: [] }), blobs: [config] },
    'empty-blob': empty,
    'data-field': { ...odd(plain, { config: withData(config) }) },
    'custom-fields': odd(some('custom'), { 'org.example.unknown': { deep: [1, null, 'ü'] } }),
    // Not as JSON.stringify would write it: the bytes are what counts.
    'own-writing': odd(
      some('writing'),
      { mediaType: manifestType },
      (all) => `\n${JSON.stringify(all, null, '\t')} \n`,
    ),
    'artifact-index': odd(nested, { artifactType: 'application/vnd.example.index' }),
    'missing-subject': odd(some('orphan'), {
      subject: { mediaType: manifestType, size: 123, digest: contentOf('', Buffer.from('missing')).digest },
    }),
  };
}
