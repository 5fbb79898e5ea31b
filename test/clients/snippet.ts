import { type Fence, fencesOf, readPage } from '../docs/markdown.ts';

/** Where a test has what the page shows. */
export interface SnippetSetting {
  /** `http://127.0.0.1:PORT` */
  cacheUrl: string;
  upstreamKey: string;
  /** Files of the test's own for those that the page names. Default none. */
  files?: Readonly<Record<string, string>>;
}

/** The snippets of docs/clients.md. */
export function documentedSnippets(): readonly Fence[] {
  return fencesOf(readPage('docs/clients.md').text);
}

/**
 * A snippet of docs/clients.md, found by the `file=` or `run=` of its fence, with the test's cache for the one of the
 * page: what is tested is what people read.
 */
export function snippetOf(marker: string, { cacheUrl, upstreamKey, files = {} }: SnippetSetting): string {
  const [snippet, ...others] = documentedSnippets().filter(({ info }) => info === marker);
  if (snippet === undefined || others.length > 0) throw new Error(`docs/clients.md: not one snippet with ${marker}`);
  const { host } = new URL(cacheUrl);
  const changes = [
    ['https://cache.example.com', cacheUrl],
    ['http://127.0.0.1:5000', cacheUrl],
    ['cache.example.com', host],
    ['127.0.0.1:5000', host],
    ['docker-hub', upstreamKey],
    ...Object.entries(files),
  ] as const;
  return changes.reduce((text, [shown, ours]) => text.replaceAll(shown, ours), snippet.code);
}
