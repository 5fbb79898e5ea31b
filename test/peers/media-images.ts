import { seededBytes } from '@proxycache/test-kit';
import { buildArtifact, buildImage, buildIndex, contentOf, type Image, machineArchitecture } from './image-builder.ts';

/** One image of each kind that registries hold. */
export interface MediaImages {
  oci: Image;
  zstd: Image;
  uncompressed: Image;
  index: Image;
  docker: Image;
  dockerList: Image;
  artifact: Image;
  chart: Image;
  big: Image;
}

/** The length of the big layer before its archive's frame. */
const bigLayer = 64 * 1024 * 1024;

/** Builds them around the program of {@link compileHello}. No two share a layer. */
export function mediaImages(program: Uint8Array): MediaImages {
  const image = (name: string, parts: Partial<Parameters<typeof buildImage>[0]> = {}) =>
    buildImage({ name, message: name, program, ...parts });
  const indexed = image('index');
  return {
    oci: image('oci'),
    zstd: image('zstd', { compression: 'zstd' }),
    uncompressed: image('uncompressed', { compression: 'none' }),
    index: buildIndex('oci', [
      { image: indexed, architecture: machineArchitecture },
      { image: image('index-arm64', { architecture: 'arm64' }), architecture: 'arm64', variant: 'v8' },
      {
        image: attestationOf('index'),
        annotations: {
          'vnd.docker.reference.digest': indexed.manifest.digest,
          'vnd.docker.reference.type': 'attestation-manifest',
        },
      },
    ]),
    docker: image('docker', { format: 'docker' }),
    dockerList: buildIndex('docker', [
      { image: image('list', { format: 'docker' }), architecture: machineArchitecture },
      { image: image('list-arm64', { format: 'docker', architecture: 'arm64' }), architecture: 'arm64', variant: 'v8' },
    ]),
    artifact: buildArtifact({
      artifactType: 'application/vnd.example.report',
      layer: contentOf('text/plain', Buffer.from('a report\n')),
    }),
    chart: buildArtifact({
      config: contentOf('application/vnd.cncf.helm.config.v1+json', Buffer.from('{"name":"demo","version":"0.1.0"}')),
      layer: contentOf('application/vnd.cncf.helm.chart.content.v1.tar+gzip', seededBytes('chart', 4096)),
    }),
    big: image('big', { compression: 'none', ballast: bigLayer }),
  };
}

function attestationOf(name: string): Image {
  const statement = { _type: 'https://in-toto.io/Statement/v0.1', subject: [{ name }], predicate: {} };
  const layer = contentOf('application/vnd.in-toto+json', Buffer.from(JSON.stringify(statement)));
  return buildArtifact({ artifactType: 'application/vnd.example.attestation', layer });
}
