import { sha256 } from '@proxycache/test-kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CacheProcess, startCacheProcess } from '../peers/cache-process.ts';
import { compileHello } from '../peers/hello-program.ts';
import { buildArtifact, buildImage, buildReferrersTag, contentOf, type Image } from '../peers/image-builder.ts';
import type { UpstreamPeer } from '../peers/upstream-peer.ts';
import { configFor, hasPrograms, startUpstream, upstreamKey } from './world.ts';

const signature = 'application/vnd.example.signature';
const sbom = 'application/vnd.example.sbom';
const repository = 'library/signed';

interface Listed {
  status: number;
  filtered: string | null;
  types: readonly (string | undefined)[];
}

describe.skipIf(!hasPrograms({}))('referrers of an image in a registry that has no referrers API', () => {
  let upstream: UpstreamPeer;
  let cache: CacheProcess;
  let subject: Image;
  let signed: Image;

  beforeAll(async () => {
    const program = await compileHello();
    subject = buildImage({ name: 'signed', message: 'signed', program });
    const artifactOf = (type: string) =>
      buildArtifact({
        artifactType: type,
        layer: contentOf('text/plain', Buffer.from(`${type}\n`)),
        subject: subject.manifest,
      });
    signed = artifactOf(signature);
    const listed = artifactOf(sbom);
    upstream = await startUpstream();
    await upstream.push(repository, '1.0', subject);
    for (const referrer of [signed, listed]) await upstream.push(repository, undefined, referrer);
    const tag = subject.manifest.digest.replace(':', '-');
    await upstream.push(repository, tag, buildReferrersTag([signed, listed]));
    cache = await startCacheProcess(configFor(upstream));
  });
  afterAll(async () => {
    await cache.close();
    await upstream.close();
  });

  const list = async (digest: string, query = ''): Promise<Listed> => {
    const response = await fetch(`${cache.url}/v2/${upstreamKey}/${repository}/referrers/${digest}${query}`);
    const { manifests } = (await response.json()) as { manifests?: readonly { artifactType?: string }[] };
    const types = (manifests ?? []).map(({ artifactType }) => artifactType).toSorted();
    return { status: response.status, filtered: response.headers.get('oci-filters-applied'), types };
  };

  it('are listed from the tag that stands for the API', async () => {
    expect(await list(subject.manifest.digest)).toEqual({ status: 200, filtered: null, types: [sbom, signature] });
  });

  it('are filtered by us, and the answer says so', async () => {
    const filtered = await list(subject.manifest.digest, `?artifactType=${encodeURIComponent(signature)}`);
    expect(filtered).toEqual({ status: 200, filtered: 'artifactType', types: [signature] });
  });

  it('are an empty list for an image that has none', async () => {
    expect(await list(signed.manifest.digest)).toEqual({ status: 200, filtered: null, types: [] });
  });

  it('can be pulled, manifest and content, byte for byte', async () => {
    const { manifest, blobs } = signed;
    const base = `${cache.url}/v2/${upstreamKey}/${repository}`;
    for (const [kind, { digest }] of [['manifests', manifest] as const, ['blobs', blobs[1]!] as const]) {
      const response = await fetch(`${base}/${kind}/${digest}`);
      expect(sha256(new Uint8Array(await response.arrayBuffer()))).toBe(digest);
    }
  });

  it('are still listed when the upstream is stopped, and never as none', async () => {
    await list(subject.manifest.digest);
    await upstream.stop();
    expect((await list(subject.manifest.digest)).types).toEqual([sbom, signature]);
    expect((await list(blobDigest(subject))).status).toBeGreaterThanOrEqual(500);
    await upstream.start();
  });
});

/** A digest that nobody asked the referrers of yet. */
const blobDigest = ({ blobs }: Image): string => blobs[0]!.digest;
