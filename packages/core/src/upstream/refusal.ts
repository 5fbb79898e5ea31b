import { letGo } from './let-go.ts';
import { hear, isHtml } from './own-voice.ts';
import type { Answer } from './question.ts';
import type { Reply } from './upstream.ts';
import { UpstreamError } from './upstream-error.ts';

/** Absent or denied. */
export type Refusal = Exclude<Reply<never>, { kind: 'found' | 'not-modified' }>;

/** What a refusal is told in. */
export interface RefusalContext {
  /** The upstream's key. */
  key: string;
  /** What was asked for, as it may be shown. */
  subject: string;
  /** Text that marks a body as the registry's own. */
  markers: readonly string[];
}

/**
 * What an answer that is not 2xx means: absent or denied in the registry's own voice; thrown where somebody else spoke
 * or the status means nothing here.
 */
export async function interpretRefusal(answer: Answer, { key, subject, markers }: RefusalContext): Promise<Refusal> {
  const { status, denial } = answer;
  if (denial) return denial;
  const fail = (code: 'foreign-answer' | 'server-error', why: string) =>
    new UpstreamError(code, `${key} ${why} for ${subject}`, { upstream: key, status });

  if (status < 400 || status >= 500 || status === 405) {
    letGo(answer);
    throw fail('server-error', `answered ${status}, which means nothing`);
  }
  const voice = await hear(answer.body, markers);
  if (!voice.own) {
    const what = isHtml(answer.headers) ? 'a web page' : 'something that is no registry error';
    throw fail('foreign-answer', `answered ${status} with ${what}`);
  }
  // Quota words under another status: distribution's proxies and old Docker Hub mirrors do that.
  if (voice.code === 'TOOMANYREQUESTS') {
    throw new UpstreamError('rate-limited', `${key} says too many requests for ${subject}`, { upstream: key, status });
  }
  if (status === 404) return { kind: 'absent', code: voice.code, message: voice.message };
  return { kind: 'denied', status, message: voice.message };
}

/**
 * What an answer to a HEAD that is not 2xx means, as far as headers can say; `undefined`: only a GET can say, because a
 * chained proxy may answer 404 to a HEAD of what it has not fetched yet, and others know no HEAD at all.
 */
export function interpretHeadRefusal(answer: Answer, { key, subject }: RefusalContext): Refusal | undefined {
  const { status, headers, denial } = answer;
  if (denial) return denial;
  letGo(answer);
  if ([404, 405, 501].includes(status) || !answer.fromOwnOrigin) return undefined;
  if (status < 400) {
    throw new UpstreamError('server-error', `${key} answered ${status}, which means nothing, for ${subject}`, {
      upstream: key,
      status,
    });
  }
  if (isHtml(headers)) {
    throw new UpstreamError('foreign-answer', `${key} answered ${status} with a web page for ${subject}`, {
      upstream: key,
      status,
    });
  }
  // A 401 is what it says. Of other refusals only the body tells whose they are: gateways speak JSON, too.
  return status === 401 ? { kind: 'denied', status, message: 'answered 401' } : undefined;
}
