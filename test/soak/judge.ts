import { sha256 } from '@proxycache/test-kit';
import { wrongBlobAnswer } from './body-check.ts';
import type { Answered } from './client.ts';
import type { Ledger } from './ledger.ts';
import { ascend, type Question, slice } from './question.ts';
import type { Shelf, Version } from './shelf.ts';

/** The world while a question was under way. */
export interface Window {
  /** When it was asked: number and instant. */
  seq: number;
  at: number;
  /** From when on answers may stem that it was given: others asked the same before, and share what they get. */
  sharedSince: number;
  /** Some path on which the upstream's content comes had no trouble all the time. */
  reachable: boolean;
  /** The store had no trouble all the time. */
  storeWell: boolean;
  /** Wrong bytes may have come. */
  corrupted: boolean;
  /** The disk is said to be full. */
  full: boolean;
  freshForMs: number;
}

const KiB = 1024;
const failures = [429, 502, 503, 504];

/** What is wrong with an answer, if anything; what it acknowledges goes into the ledger. */
export function judge(
  { question, answered }: { question: Question; answered: Answered },
  window: Window,
  { shelf, ledger }: { shelf: Shelf; ledger: Ledger },
): string | undefined {
  const { status, headers, end } = answered;
  const { repository } = question;
  if (end === 'left') return question.about === 'blob' ? wrongBytes(question, answered, window) : undefined;
  if ((status === 429 || status === 503) && headers['retry-after'] === undefined)
    return `${status} without Retry-After`;

  const whole = end === 'whole' && [200, 206, 304, 416].includes(status);
  const duty = mustSucceed();
  if (duty !== undefined && !whole)
    return `${duty}, but the answer is ${status || 'none'} (${end} ${answered.failure ?? ''})`;
  if (status === 500) return 'a defect of ours';
  if (status !== 0 && headers['docker-distribution-api-version'] !== 'registry/2.0') return 'not an answer of ours';
  if (status === 0 || end === 'broken') return wrongBytes(question, answered, window);
  if (failures.includes(status)) return undefined;
  if (status === 404) return checkAbsence();
  if (!whole) return `status ${status}`;
  switch (question.about) {
    case 'tag':
      return checkTag(question.tag);
    case 'manifest':
      return checkManifest(question.digest);
    case 'blob':
      return checkBlob();
    case 'tags':
      return checkList('tags', shelf.listed(repository));
    case 'referrers':
      return checkList('manifests', shelf.referrers(repository, question.digest));
  }

  /** SEMANTICS 30, 31: what is not the upstream's own list of now says so. */
  function checkList(field: 'tags' | 'manifests', expected: readonly string[]): string | undefined {
    if (headers['warning'] !== undefined)
      return window.reachable && window.storeWell ? 'partial, though reachable' : undefined;
    if (shelf.changedAt(repository) > window.sharedSince || window.freshForMs > 0) return undefined;
    const listed: (string | { digest: string })[] = JSON.parse(answered.body.toString())[field];
    const got = listed.map((entry) => (typeof entry === 'string' ? entry : entry.digest));
    return got.join() === expected.join() ? undefined : `lists ${got.join()} instead of ${expected.join()}`;
  }

  /** Why this must be answered right, if it must. */
  function mustSucceed(): string | undefined {
    const { sharedSince, reachable, storeWell } = window;
    switch (question.about) {
      case 'tag': {
        const versions = during(question.tag);
        const stands = versions.every(({ digest }) => digest && shelf.heldSince(repository, digest, sharedSince));
        if (versions.length === 1 && stands && reachable) return 'the upstream could give it';
        const confirmed = ledger.confirmed(repository, question.tag);
        const { digest } = confirmed?.version ?? {};
        const keeps = digest !== undefined && confirmed?.stored && ledger.keeps(repository, digest);
        // While the upstream can be reached, it may say that the tag is gone.
        if (keeps && storeWell && stands && versions.length === 1) return 'it is stored';
        return undefined;
      }
      case 'manifest':
      case 'blob': {
        const { digest } = question;
        if (ledger.keeps(repository, digest) && storeWell) return 'it is stored';
        const mayBeWrong = question.about === 'blob' && window.corrupted && question.size > 1024 * KiB;
        if (reachable && !mayBeWrong && shelf.heldSince(repository, digest, sharedSince))
          return 'the upstream could give it';
        return undefined;
      }
      case 'tags':
      case 'referrers':
        // A repository that has lost all it had is 404 nowhere here: repositories stay.
        return reachable ? 'the upstream could list it' : undefined;
    }
  }

  function during(tag: string): Version[] {
    const versions = shelf.versions(repository, tag);
    return versions.filter((_, i) => {
      const next = versions[i + 1];
      return (
        !next || next.seq > window.sharedSince || (window.freshForMs > 0 && next.at >= window.at - window.freshForMs)
      );
    });
  }

  function checkAbsence(): string | undefined {
    if (question.about === 'tags' || question.about === 'referrers') return 'a list that exists is 404';
    if (question.about === 'tag') {
      const versions = during(question.tag);
      const gone = versions.length === 0 ? undefined : versions.findLast(({ digest }) => digest === undefined);
      const lacks = versions.some(({ digest }) => digest && shelf.lackedSince(repository, digest, window.sharedSince));
      if (versions.length > 0 && !gone && !lacks) return `404 for ${question.tag}, which is there`;
      if (gone) ledger.confirm({ repository, tag: question.tag }, gone, { stored: false, reliable: window.storeWell });
      return undefined;
    }
    return shelf.lackedSince(repository, question.digest, window.sharedSince) ? undefined : '404 for what is there';
  }

  function checkTag(tag: string): string | undefined {
    const digest = headers['docker-content-digest'] ?? '';
    if (question.method === 'GET' && sha256(answered.body) !== digest) return 'the manifest is not that of its digest';
    const all = shelf.versions(repository, tag);
    if (!shelf.everHeld(repository, digest)) return `${digest} was never in ${repository}`;
    if (/stale:/.test(headers['warning'] ?? '')) return checkStale(tag, digest, all);
    const version = during(tag).findLast((candidate) => candidate.digest === digest);
    if (!version) return `${tag} is said to be ${digest}, which it is not now`;
    const stored = question.method === 'GET';
    ledger.confirm({ repository, tag }, version, { stored, reliable: window.storeWell });
    if (stored && window.storeWell) ledger.keep(repository, digest);
    return undefined;
  }

  function checkStale(tag: string, digest: string, all: readonly Version[]): string | undefined {
    if (window.reachable && window.storeWell) return 'stale, though the upstream could be asked';
    const confirmed = ledger.confirmed(repository, tag)?.version;
    if (!confirmed) return undefined;
    if (confirmed.digest === undefined) {
      const later = all.some((version) => version.digest === digest && version.seq > confirmed.seq);
      return later ? undefined : 'stale, though the upstream has said that it is gone';
    }
    // SEMANTICS 12: an image that is not here whole may lose to an earlier one.
    const image = shelf
      .images()
      .find(({ root, repository: home }) => root.digest === confirmed.digest && home === repository);
    const parts = image && [...image.manifests, ...image.blobs];
    const mayLose = parts?.every((part) => ledger.keeps(repository, part.digest)) !== true;
    const known = all.some((version) => version.digest === digest && (mayLose || version.seq >= confirmed.seq));
    return known || all.length > 25
      ? undefined
      : `stale: ${digest} is older than what was confirmed, ${confirmed.digest}`;
  }

  function checkManifest(digest: string): string | undefined {
    if (!shelf.everHeld(repository, digest)) return `${repository} never held it`;
    if (headers['docker-content-digest'] !== digest) return `announced as ${headers['docker-content-digest']}`;
    if (question.method === 'GET' && sha256(answered.body) !== digest) return 'the manifest is not that of its digest';
    if (question.method === 'GET' && window.storeWell) ledger.keep(repository, digest);
    return undefined;
  }

  function checkBlob(): string | undefined {
    if (question.about !== 'blob') return undefined;
    if (!shelf.everHeld(repository, question.digest)) return `${repository} never held it`;
    if (status === 304) return question.ifNoneMatch ? undefined : '304 without a condition';
    if (question.method === 'HEAD') {
      const length = headers['content-length'];
      // SEMANTICS 37: an upstream may not have told it.
      if (length === undefined && !ledger.keeps(repository, question.digest)) return undefined;
      return length === String(question.size) ? undefined : `HEAD says ${length} bytes of ${question.size}`;
    }
    if (status === 200 && question.parts && !mayBeWhole(question)) return 'a whole 200 to a range';
    return wrongBytes(question, answered, window);
  }

  /** SEMANTICS 34: what cannot be kept, nor be held back whole, is given in one pass. */
  function mayBeWhole({ parts = [], size }: Extract<Question, { about: 'blob' }>): boolean {
    const wanted = parts.map((part) => slice(part, size)).filter((part) => part !== undefined);
    return wanted.length === 0 || (window.full && size > 1024 * KiB && !ascend(wanted));
  }

  function wrongBytes(asked: Question, got: Answered, { corrupted }: Window): string | undefined {
    if (asked.about !== 'blob' || asked.method !== 'GET') return undefined;
    const bytes = shelf.bytes(asked.digest);
    if (!bytes) return undefined;
    // SEMANTICS 18: a prefix that has left, and a part that nobody could verify, may be wrong; what is complete may not.
    const verified = got.status === 200 && got.end === 'whole';
    if (corrupted && !verified && !ledger.keeps(asked.repository, asked.digest)) return undefined;
    return wrongBlobAnswer(got, { bytes, ...(asked.parts && { parts: asked.parts }) });
  }
}
