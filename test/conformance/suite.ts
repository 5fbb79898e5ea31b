import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runCommand, runOk } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { lacking, type Program, requireGo } from '../system.ts';

/**
 * The conformance suite of the OCI distribution-spec, and the hash of its content as Go reckons it (`go.sum`). It is of May
 * 2023: the newest that could be had, and verified, as a Go module where this was written.
 */
const suite = {
  path: 'github.com/opencontainers/distribution-spec/conformance',
  version: 'v0.0.0-20230516164017-7fcdf80f3c8b',
  sum: 'h1:MGYx4v+mUV+V2Vs7/dauGK+GdBJYD1Jkn8bHdyqs6/s=',
} as const;

const cacheFolder = fileURLToPath(new URL('../../node_modules/.cache/oci-conformance/', import.meta.url));
// The first build downloads and compiles some fifteen modules, on a machine that is busy with other tests.
const buildTimeoutMs = 300_000;

/** How one case of the suite came out. */
export interface SuiteCase {
  name: string;
  outcome: 'passed' | 'failed' | 'skipped';
  /** What the suite said of it. */
  message: string;
}

/** What the suite reads, all of it in the registry already: it is never asked to push. */
export interface SuiteTarget {
  /** `http://127.0.0.1:PORT` */
  url: string;
  repository: string;
  tag: string;
  /** Of the manifest that the tag names. */
  manifest: string;
  blob: string;
  tags: readonly string[];
}

/** The built suite, from the cache or made now. Where Go or the suite cannot be had: as `requireProgram`. */
export async function requireSuite(): Promise<string | undefined> {
  const go = await requireGo();
  return go && ((await builtSuite(go)) ?? lacking(`${suite.path}@${suite.version} cannot be downloaded by Go`));
}

async function builtSuite(go: Program): Promise<string | undefined> {
  const program = `${cacheFolder}${suite.version}-${go.version}.test`;
  if (existsSync(program)) return program;
  const download = await runCommand({
    program: go.path,
    args: ['mod', 'download', '-json', `${suite.path}@${suite.version}`],
    timeoutMs: buildTimeoutMs,
  });
  if (download.code !== 0) return undefined;
  const { Dir: folder, Sum: sum } = JSON.parse(download.stdout) as { Dir: string; Sum: string };
  if (sum !== suite.sum) throw new Error(`${suite.path}@${suite.version} has the hash ${sum}, expected ${suite.sum}`);
  mkdirSync(cacheFolder, { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  await runOk({
    program: go.path,
    args: ['test', '-c', '-buildvcs=false', '-o', unfinished, '.'],
    folder,
    // The suite's own go.sum holds; no other toolchain is fetched.
    env: { GOFLAGS: '-mod=readonly', GOTOOLCHAIN: 'local' },
    timeoutMs: buildTimeoutMs,
  });
  renameSync(unfinished, program);
  return program;
}

/** Runs the categories of the suite that only read: Pull and Content Discovery. */
export async function runSuite(program: string, target: SuiteTarget): Promise<readonly SuiteCase[]> {
  const folder = makeTemporaryFolder('conformance');
  try {
    // Its exit code says whether all passed, which its report says too.
    await runCommand({
      program,
      args: [],
      folder,
      env: {
        OCI_ROOT_URL: target.url,
        OCI_NAMESPACE: target.repository,
        OCI_TEST_PULL: '1',
        OCI_TEST_CONTENT_DISCOVERY: '1',
        // Given these, it does not push what it reads.
        OCI_TAG_NAME: target.tag,
        OCI_MANIFEST_DIGEST: target.manifest,
        OCI_BLOB_DIGEST: target.blob,
        OCI_TAG_LIST: target.tags.join(','),
      },
    });
    return casesOf(readFileSync(`${folder}/junit.xml`, 'utf8'));
  } finally {
    removeFolder(folder);
  }
}

/** The cases of a report as JUnit writes them. @throws Error when they are not as many as it says it has */
function casesOf(report: string): readonly SuiteCase[] {
  const cases = [...report.matchAll(/<testcase name="([^"]*)"[^>]*?(?:\/>|>(.*?)<\/testcase>)/gs)].map(
    ([, name = '', body = '']): SuiteCase => ({
      name: plain(name).replace(/^OCI Distribution Conformance Tests /, ''),
      outcome: /<(failure|error)/.test(body) ? 'failed' : body.includes('<skipped') ? 'skipped' : 'passed',
      message: plain(body.replaceAll(/<[^>]*>/g, '')).trim(),
    }),
  );
  // It counts what ran.
  const [, count] = /<testsuite [^>]*?tests="(\d+)"/.exec(report) ?? [];
  const ran = cases.filter(({ outcome }) => outcome !== 'skipped').length;
  if (ran !== Number(count)) throw new Error(`${ran} cases ran, by a report of ${count}`);
  return cases;
}

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };

/** Text of XML 1.0 without its references. */
function plain(xml: string): string {
  return xml.replaceAll(/&(?:#x([0-9A-Fa-f]+)|#(\d+)|(\w+));/g, (whole, hex, decimal, name) => {
    if (name !== undefined) return entities[name] ?? whole;
    return String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16));
  });
}
