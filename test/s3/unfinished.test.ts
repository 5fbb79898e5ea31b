import type { IncomingMessage, ServerResponse } from 'node:http';
import { type S3Blobs, s3Blobs } from '@proxycache/s3';
import { manualClock } from '@proxycache/test-kit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type LoopbackServer, startLoopbackServer } from '../peers/loopback-server.ts';

const { signal } = new AbortController();
const hex = (upload: number) => String(upload).padStart(64, '0');

describe('uploads that were never finished', () => {
  let server: LoopbackServer;
  let store: S3Blobs;
  let left: Set<number>;
  let queries: URLSearchParams[];
  /** Answers a listing. */
  let list: (query: URLSearchParams, response: ServerResponse) => void;

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const { searchParams: query } = new URL(request.url ?? '', server.url);
    if (request.method === 'GET' && query.has('uploads')) {
      queries.push(query);
      list(query, response);
      return;
    }
    if (!query.has('uploadId')) {
      response.end();
      return;
    }
    const isThere = left.delete(Number(query.get('uploadId')));
    response.writeHead(isThere ? 204 : 404);
    response.end(isThere ? undefined : '<Error><Code>NoSuchUpload</Code><Message>made up</Message></Error>');
  }

  beforeAll(async () => {
    server = await startLoopbackServer(answer);
  });
  beforeEach(() => {
    left = new Set([1, 2, 3, 4, 5]);
    queries = [];
    list = (_, response) => response.end(page([...left]));
    store = open();
  });
  afterEach(() => store.close());
  afterAll(() => server?.stop());

  function open(more: Partial<Parameters<typeof s3Blobs>[0]> = {}): S3Blobs {
    const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };
    const options = { endpoint: server.url, region: 'here', forcePathStyle: true, maxAttempts: 1, credentials };
    return s3Blobs({ bucket: 'bucket', prefix: 'p/', options, ...more });
  }

  const keyOf = (upload: number) => `p/blobs/sha256/${hex(upload)}`;

  function page(uploads: readonly number[], more = ''): string {
    const all = uploads.map((upload) => {
      const begun = '<Initiated>2020-01-01T00:00:00.000Z</Initiated>';
      return `<Upload><Key>${keyOf(upload)}</Key><UploadId>${upload}</UploadId>${begun}</Upload>`;
    });
    return `<ListMultipartUploadsResult>${more}${all.join('')}</ListMultipartUploadsResult>`;
  }

  test('are removed past one that was gone by then, which is not counted', async () => {
    list = (_, response) => {
      response.end(page([...left]));
      left.delete(2);
    };
    expect(await store.abortUnfinished({ signal })).toBe(4);
    expect([...left]).toEqual([]);
  });

  test('are removed past a page that does not say how it goes on, from its last upload', async () => {
    list = (query, response) => {
      const rest = [...left].filter((upload) => keyOf(upload) > (query.get('key-marker') ?? ''));
      response.end(page(rest.slice(0, 2), `<IsTruncated>${rest.length > 2}</IsTruncated>`));
    };
    expect(await store.abortUnfinished({ signal })).toBe(5);
    expect(queries.map((query) => query.get('key-marker'))).toEqual([null, keyOf(2), keyOf(4)]);
    expect(queries.map((query) => query.get('upload-id-marker'))).toEqual([null, '2', '4']);
  });

  test.each([
    ['names no way on', ''],
    ['repeats itself', '<NextKeyMarker>p/blobs/sha256/x</NextKeyMarker><NextUploadIdMarker>x</NextUploadIdMarker>'],
  ])('are told of as not all looked at where a page %s', async (_, next) => {
    list = (_, response) => {
      // Asked for again and again, it ends at some time.
      const isTruncated = queries.length < 5;
      response.end(page([], `<IsTruncated>${isTruncated}</IsTruncated>${next}`));
    };
    const outcome = store.abortUnfinished({ signal });
    await expect(outcome).rejects.toMatchObject({ code: 'storage-failed', message: /broke off a listing/ });
  });

  test('may take a minute to list, and what is not listed by then leaves S3 alone for nobody', async () => {
    const clock = manualClock();
    await store.close();
    store = open({ clock });
    list = () => undefined;
    for (let turn = 0; turn < 3; turn++) {
      let isOver = false;
      const asked = store.abortUnfinished({ signal }).finally(() => {
        isOver = true;
      });
      const late = expect(asked).rejects.toThrow('within 60000 ms');
      await clock.advance(59_999);
      expect(isOver).toBe(false);
      await clock.advance(1);
      await late;
    }
    expect(await store.delete(`sha256:${hex(1)}`, { signal })).toBe(true);
  });
});
