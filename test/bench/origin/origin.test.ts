import { expect, it } from 'vitest';
import { countLines } from './origin.ts';
import { linesOfLog } from './registry-origin.ts';

it("the upstream's log is counted by kind of request", () => {
  const lines = ['GET /v2/a/manifests/x 200 10', 'HEAD /v2/a/manifests/x 200 10', 'GET /v2/a/blobs/sha256:1 200 90'];
  expect(countLines(lines)).toEqual({ gets: 2, heads: 1, blobGets: 1, bytes: 100 });
});

it("the lines of docker-registry's log are read", () => {
  const log = `time="2026-01-01T00:00:00Z" level=warning msg="a warning"
127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "GET /v2/ HTTP/1.1" 200 2 "" "Node"
127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "HEAD /v2/a/manifests/latest HTTP/1.1" 200 1344 "" ""
`;
  expect(linesOfLog(log)).toEqual(['GET /v2/ 200 2', 'HEAD /v2/a/manifests/latest 200 1344']);
});
