import { describe, expect, it } from 'vitest';
import { isProxyCacheError } from '../runtime/errors.ts';
import { digestOf } from './digest.ts';
import { parseManifest } from './manifest.ts';
import { mediaTypes } from './media-type.ts';

const digest = (text: string) => digestOf(Buffer.from(text));
const bytesOf = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digest('layer'), size: 10 };
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest('config'), size: 2 };

function refusal(value: unknown): string {
  try {
    parseManifest(bytesOf(value));
  } catch (error) {
    if (isProxyCacheError(error) && error.code === 'manifest-unsupported') return error.message;
    throw error;
  }
  throw new Error('it was taken');
}

describe('parseManifest', () => {
  it('lists the config and then the layers of an image as its blobs', () => {
    expect(
      parseManifest(bytesOf({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] })),
    ).toEqual({
      kind: 'image',
      mediaType: mediaTypes.ociManifest,
      config: { ...config, foreign: false },
      children: [],
      blobs: [
        { ...config, foreign: false },
        { ...layer, foreign: false },
      ],
      artifactType: config.mediaType,
    });
  });

  it('lists the manifests of an index with their platforms', () => {
    const child = { mediaType: mediaTypes.ociManifest, digest: digest('child'), size: 5 };
    const arm = { os: 'linux', architecture: 'arm64', variant: 'v8' };
    const manifest = parseManifest(
      bytesOf({ schemaVersion: 2, manifests: [{ ...child, platform: { ...arm, 'os.version': '1' } }, child] }),
    );
    expect(manifest).toEqual({ kind: 'index', children: [{ ...child, platform: arm }, child], blobs: [] });
  });

  it('takes the layers that a build cache lists in an index for blobs', () => {
    const manifest = parseManifest(bytesOf({ schemaVersion: 2, manifests: [layer] }));
    expect(manifest.children).toEqual([]);
    expect(manifest.blobs).toEqual([{ ...layer, foreign: false }]);
  });

  it('flags layers that name other places to get them from', () => {
    const foreign = { ...layer, urls: ['https://example.com/layer'] };
    expect(parseManifest(bytesOf({ layers: [foreign, { ...layer, urls: [] }] })).blobs).toEqual([
      { ...layer, foreign: true },
      { ...layer, foreign: false },
    ]);
  });

  it('reads subject, artifact type and annotations', () => {
    const subject = { mediaType: mediaTypes.ociManifest, digest: digest('subject'), size: 7 };
    const manifest = parseManifest(
      bytesOf({ layers: null, config, subject, artifactType: 'application/x', annotations: { a: 'b', c: 1 } }),
    );
    expect(manifest).toMatchObject({
      subject: subject.digest,
      artifactType: 'application/x',
      annotations: { a: 'b' },
    });
  });

  it('leaves out descriptors by an algorithm that nobody can ask for', () => {
    expect(parseManifest(bytesOf({ layers: [{ ...layer, digest: 'blake3:00' }] })).blobs).toEqual([]);
  });

  it('refuses what is an index and an image at once (CVE-2021-41190)', () => {
    expect(refusal({ manifests: [], layers: [] })).toContain('CVE-2021-41190');
    expect(refusal({ manifests: [], config })).toContain('CVE-2021-41190');
  });

  it('refuses a body that calls itself an index but is built like an image, and the other way round', () => {
    expect(refusal({ mediaType: mediaTypes.ociIndex, layers: [] })).toContain('built like an image');
    expect(refusal({ mediaType: mediaTypes.dockerManifest, manifests: [] })).toContain('built like an index');
  });

  it('refuses Docker schema 1 with the reason', () => {
    expect(refusal({ schemaVersion: 1, fsLayers: [] })).toContain('schema version 1');
    expect(refusal({ schemaVersion: 2, fsLayers: [] })).toContain('schema version 1');
  });

  it.each([
    ['text', '<html>'],
    ['a byte order mark', '\u{feff}{"layers":[]}'],
    ['a list', []],
    ['an object without manifests or layers', { token: 'x' }],
    ['layers that are no list', { layers: {} }],
    ['a layer that is no descriptor', { layers: ['x'] }],
    ['a layer without a size', { layers: [{ digest: layer.digest }] }],
    ['a layer of a negative size', { layers: [{ ...layer, size: -1 }] }],
    ['a layer without a digest', { layers: [{ size: 1 }] }],
  ])('refuses %s', (_what, value) => {
    expect(refusal(value)).toContain('cannot be served');
  });

  it('refuses bytes that are not UTF-8', () => {
    expect(() => parseManifest(Uint8Array.of(0x7b, 0xff, 0x7d))).toThrow('not JSON');
  });
});
