import type { Hash } from 'node:crypto';
import type { MessagePort } from 'node:worker_threads';
import { createDigestHash, type Digest, digestAlgorithm, finishDigest } from '../oci/digest.ts';

/** What a thread is asked to do with one of its hashes, by its number; in this order. */
export type HashRequest =
  | { what: 'create'; hash: number; digest: Digest }
  | { what: 'update'; hash: number; pieces: readonly Uint8Array[] }
  | { what: 'copy'; hash: number; to: number }
  | { what: 'digest'; hash: number }
  | { what: 'free'; hash: number };

/** What it answers: a digest, or that it has done with the pieces of the next `update`, in the order of those. */
export type HashReply = { hash: number; digest: Digest } | 'updated';

/** Hashes for whoever has the other end of the port, until that is closed. */
export function serveHashes(port: MessagePort): void {
  const hashes = new Map<number, { hash: Hash; algorithm: string }>();
  const reply = (message: HashReply) => port.postMessage(message);

  function serve(request: HashRequest): void {
    if (request.what === 'create') {
      const { hash, digest } = request;
      hashes.set(hash, { hash: createDigestHash(digest), algorithm: digestAlgorithm(digest) });
      return;
    }
    const asked = hashes.get(request.hash);
    if (!asked) throw new Error(`there is no hash ${request.hash}`);
    const { hash, algorithm } = asked;
    if (request.what === 'update') {
      for (const piece of request.pieces) hash.update(piece);
      reply('updated');
    } else if (request.what === 'copy') {
      hashes.set(request.to, { hash: hash.copy(), algorithm });
    } else {
      hashes.delete(request.hash);
      if (request.what === 'digest') reply({ hash: request.hash, digest: finishDigest(hash, algorithm) });
    }
  }

  port.on('message', serve);
}
