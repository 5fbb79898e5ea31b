import { type CacheUnderTest, digestOfBody } from './cache-under-test.ts';

import type { Got } from './request.ts';

/** How a client begins: containerd and docker ask HEAD for the tag and GET for its digest, podman GET for the tag. */
export type ClientStyle = 'head-then-digest' | 'get-by-tag';

export const clientStyles: readonly ClientStyle[] = ['head-then-digest', 'get-by-tag'];

/** What a client has after a pull. */
export interface PulledImage {
  /** The status of the first answer that was none of 200, else 200. */
  status: number;
  /** The answer to the first request, which is about the tag. */
  first: Got;
  /** The digest of the manifest that the tag led to, by its bytes. */
  digest: string | undefined;
  /** Every body by its digest, each verified by it. */
  content: ReadonlyMap<string, Buffer>;
}

interface Entry {
  digest: string;
  size: number;
}
interface ManifestBody {
  manifests?: Entry[];
  config?: Entry;
  layers?: Entry[];
}

/** Pulls a whole image as a client does: the tag, of an index its first platform, config and layers. */
export async function pullImage(
  cache: CacheUnderTest,
  image: { path: string; tag: string; query?: string },
  style: ClientStyle = 'head-then-digest',
): Promise<PulledImage> {
  const { path, tag, query = '' } = image;
  const content = new Map<string, Buffer>();
  const base = `${path}`;
  let status = 200;

  async function take(url: string): Promise<Buffer | undefined> {
    const got = await cache.get(url);
    if (got.status !== 200 || got.failure) {
      if (status === 200) status = got.failure ? 0 : got.status;
      return undefined;
    }
    content.set(digestOfBody(got.body), got.body);
    return got.body;
  }

  const byTag = `${base}/manifests/${tag}${query}`;
  const first = style === 'get-by-tag' ? await cache.get(byTag) : await cache.head(byTag);
  if (first.status !== 200) return { status: first.status, first, digest: undefined, content };
  const root = style === 'get-by-tag' ? first.body : await take(`${base}/manifests/${digestSaid(first)}${query}`);
  if (!root) return { status, first, digest: undefined, content };
  content.set(digestOfBody(root), root);

  let manifest: ManifestBody = JSON.parse(root.toString());
  const child = manifest.manifests?.[0];
  if (child) {
    const bytes = await take(`${base}/manifests/${child.digest}${query}`);
    if (!bytes) return { status, first, digest: digestOfBody(root), content };
    manifest = JSON.parse(bytes.toString());
  }
  for (const blob of [manifest.config, ...(manifest.layers ?? [])]) {
    if (blob) await take(`${base}/blobs/${blob.digest}${query}`);
  }
  return { status, first, digest: digestOfBody(root), content };
}

function digestSaid({ headers }: Got): string {
  return headers['docker-content-digest'] ?? 'none';
}
