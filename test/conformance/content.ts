import { seededBytes } from '@proxycache/test-kit';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  buildReferrersTag,
  type Content,
  contentOf,
  type Image,
} from '../peers/image-builder.ts';
import { oddImages } from './odd-images.ts';

/** Where it all is. */
export const repository = 'library/conformance';

/** A repository that has content of its own, so that "not in this repository" can be told from "nowhere". */
export const otherRepository = 'library/other';

// Nothing is run here.
const program = seededBytes('program', 3000);
const image = (name: string, parts: Partial<Parameters<typeof buildImage>[0]> = {}) =>
  buildImage({ name, message: name, program, ...parts });

/** A blob that ranges are asked of, as long as the suite's own; by any of these names there is one. */
export const rangedBlob = (name: string): Content =>
  contentOf('application/octet-stream', seededBytes(`ranges ${name}`, 2048));

/** The ranges of the conformance suite and their neighbours, and what of 2048 bytes each is; `undefined`: nothing. */
export const ranges: Readonly<Record<string, readonly [from: number, to: number] | undefined>> = {
  'bytes=500-1499': [500, 1500],
  'bytes=500-': [500, 2048],
  'bytes=-500': [1548, 2048],
  'bytes=2000-5000': [2000, 2048],
  'bytes=0-0': [0, 1],
  'bytes=-5000': [0, 2048],
  'bytes=500-0': undefined,
  'bytes=5000-10000': undefined,
  'bytes=2048-': undefined,
  'bytes=-0': undefined,
};

const artifact = buildArtifact({
  artifactType: 'application/vnd.example.report',
  layer: contentOf('text/plain', Buffer.from('a report\n')),
});
const single = image('single');
const subject = image('subject');
const referrerOf = (artifactType: string) =>
  buildArtifact({
    artifactType,
    layer: contentOf('text/plain', Buffer.from(`${artifactType}\n`)),
    subject: subject.manifest,
  });

/** What the subject's referrers are. */
export const artifactTypes = ['application/vnd.example.sbom', 'application/vnd.example.signature'] as const;
const referrers = artifactTypes.map(referrerOf);

/** What the repository's tags name. */
export const tagged: Readonly<Record<string, Image>> = {
  artifact: {
    ...artifact,
    // Those are in the repository without a manifest that names them.
    blobs: [...artifact.blobs, ...Object.keys(ranges).map(rangedBlob)],
  },
  docker: image('docker', { format: 'docker' }),
  dockerlist: buildIndex('docker', [
    { image: image('list-amd64', { format: 'docker' }), architecture: 'amd64' },
    { image: image('list-arm64', { format: 'docker', architecture: 'arm64' }), architecture: 'arm64', variant: 'v8' },
  ]),
  index: buildIndex('oci', [
    { image: image('index-amd64'), architecture: 'amd64' },
    { image: image('index-arm64', { architecture: 'arm64' }), architecture: 'arm64', variant: 'v8' },
  ]),
  single,
  subject,
  uncompressed: image('uncompressed', { compression: 'none', ballast: 300_000 }),
  'v1.0': single,
  'v1.0-rc.1': single,
  V2: single,
  ...oddImages(image('odd')),
};

/** The image that the suite is told of. */
export const known: Image = single;

/** What names the subject, and how a registry without the API lists it. */
export const attached: { subject: Image; referrers: readonly Image[]; tag: string; list: Image } = {
  subject,
  referrers,
  tag: subject.manifest.digest.replace(':', '-'),
  list: buildReferrersTag(referrers),
};

const images = [...Object.values(tagged), ...referrers];
const distinct = (contents: readonly Content[]): readonly Content[] => [
  ...new Map(contents.map((content) => [content.digest, content])).values(),
];

/** Every manifest of the repository, once. */
export const manifests: readonly Content[] = distinct(
  images.flatMap(({ manifest, children }) => [...children, manifest]),
);

/** Every blob of the repository, once. */
export const blobs: readonly Content[] = distinct(images.flatMap((one) => one.blobs));
