import type { Content, Image } from './image-builder.ts';
import type { RegistryPeer } from './registry-peer.ts';

/** Pushes an image under a tag, or where there is none under its digest (distribution-spec, push). */
export async function pushImage(registry: RegistryPeer, name: ImageName, image: Image): Promise<void> {
  const send = senderTo(registry, name.repository);
  for (const blob of image.blobs) await pushBlob(send, blob);
  for (const child of image.children) await pushManifest(send, child.digest, child);
  await pushManifest(send, name.tag ?? image.manifest.digest, image.manifest);
}

/** Where an image goes. */
export interface ImageName {
  repository: string;
  tag?: string;
}

/** Removes a manifest and with it each tag that names it: all that distribution 2.8 can (it removes no tags). */
export async function removeManifest(registry: RegistryPeer, repository: string, digest: string): Promise<void> {
  await senderTo(registry, repository)('DELETE', `manifests/${digest}`, { expect: 202 });
}

type Send = (
  method: string,
  path: string,
  options: { expect: number; bytes?: Uint8Array; mediaType?: string },
) => Promise<Response>;

function senderTo(registry: RegistryPeer, repository: string): Send {
  return async (method, path, { expect, bytes, mediaType }) => {
    const authorization = registry.authorization(repository);
    const url = new URL(path, `${registry.url()}/v2/${repository}/`);
    const response = await fetch(url, {
      method,
      headers: {
        ...(mediaType === undefined ? {} : { 'content-type': mediaType }),
        ...(authorization === undefined ? {} : { authorization }),
      },
      ...(bytes === undefined ? {} : { body: bytes as Uint8Array<ArrayBuffer> }),
    });
    const text = await response.text();
    if (response.status !== expect) throw new Error(`${method} ${url.pathname}: ${response.status} ${text}`);
    return response;
  };
}

async function pushManifest(send: Send, reference: string, { bytes, mediaType }: Content): Promise<void> {
  await send('PUT', `manifests/${reference}`, { expect: 201, bytes, mediaType });
}

async function pushBlob(send: Send, { bytes, digest }: Content): Promise<void> {
  const upload = await send('POST', 'blobs/uploads/', { expect: 202 });
  const location = new URL(upload.headers.get('location') ?? '', upload.url);
  location.searchParams.set('digest', digest);
  await send('PUT', location.href, { expect: 201, bytes, mediaType: 'application/octet-stream' });
}
