import type { StoredBlob } from './blob-store.ts';

/** Two listings in ascending order of the digest as one. What both have is listed once, as `first` does. */
export async function* mergedListing(
  first: Iterable<StoredBlob>,
  second: AsyncIterable<StoredBlob>,
): AsyncGenerator<StoredBlob, void, undefined> {
  const rest = first[Symbol.iterator]();
  let next = rest.next();
  for await (const blob of second) {
    while (!next.done && next.value.digest < blob.digest) {
      yield next.value;
      next = rest.next();
    }
    if (!next.done && next.value.digest === blob.digest) {
      yield next.value;
      next = rest.next();
    } else yield blob;
  }
  for (; !next.done; next = rest.next()) yield next.value;
}
