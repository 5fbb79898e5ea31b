import { describe, expect, it } from 'vitest';
import { essenceOf, isIndexType, isManifestType, isSchema1Type, manifestAccept, mediaTypes } from './media-type.ts';

const indexes: string[] = [mediaTypes.ociIndex, mediaTypes.dockerList];
const images: string[] = [mediaTypes.ociManifest, mediaTypes.dockerManifest];
const schema1 = [
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
];

describe('media types', () => {
  it('ask for OCI and Docker schema2, single and index, and never for schema1', () => {
    expect(manifestAccept.split(', ').sort()).toEqual([...indexes, ...images].sort());
    expect(schema1.filter((type) => manifestAccept.includes(type))).toEqual([]);
  });

  it.each([...indexes, ...images, ...schema1, mediaTypes.blob, 'application/json', ''])('sort %j', (type) => {
    expect(isIndexType(type)).toBe(indexes.includes(type));
    expect(isManifestType(type)).toBe(indexes.includes(type) || images.includes(type));
    expect(isSchema1Type(type)).toBe(schema1.includes(type));
  });
});

describe('essenceOf', () => {
  it.each([
    ['application/json; charset=utf-8', 'application/json'],
    [' Application/VND.oci.image.index.v1+JSON ;q=1', mediaTypes.ociIndex],
    ['text/html', 'text/html'],
    ['', ''],
    [null, ''],
    [undefined, ''],
  ])('reads the type of %j', (header, type) => {
    expect(essenceOf(header)).toBe(type);
  });
});
