import { essenceOf } from '../oci/media-type.ts';
import { headerOf } from './exchange.ts';
import { letGo } from './let-go.ts';
import { hear, isHtml } from './own-voice.ts';
import type { Answer, Ask } from './question.ts';
import type { Reply, Upstream } from './upstream.ts';
import { UpstreamError } from './upstream-error.ts';

/** The part of an upstream that tells whether it is there. */
export type Ping = Pick<Upstream, 'ping'>;

/**
 * Makes the part of an upstream that asks `/v2/` (OCI distribution-spec, determining support). Its errors say which of
 * the ways it is that a registry can fail to be one.
 */
export function createPing(ask: Ask, options: { key: string; markers: readonly string[] }): Ping {
  const { key, markers } = options;

  const fail = (status: number, failure: 'web-page' | 'no-registry', why: string) =>
    new UpstreamError('foreign-answer', `${key} ${why}`, { upstream: key, status, failure });

  async function denied(answer: Answer): Promise<Reply<undefined>> {
    const { status, headers, denial } = answer;
    if (denial) return denial;
    if (isHtml(headers)) {
      letGo(answer);
      throw fail(
        status,
        'web-page',
        `answered ${status} with a web page: something in front of it asks for a sign-in or blocks it`,
      );
    }
    const voice = await hear(answer.body, markers);
    if (!voice.own && headers['www-authenticate'] === undefined) {
      throw fail(
        status,
        'no-registry',
        `answered ${status} with something that is no registry error; does its url lead to a registry?`,
      );
    }
    return { kind: 'denied', status, message: voice.message || 'it asks for other credentials' };
  }

  return {
    async ping({ scope, caller, deadlineAt, signal }) {
      const question = { operation: 'ping', method: 'GET', path: '', subject: 'its base URL' } as const;
      const answer = await ask({ ...question, scope, caller, deadlineAt, signal });
      const { status, headers } = answer;
      if (status === 401 || status === 403) return await denied(answer);
      letGo(answer);
      const type = essenceOf(headerOf(headers, 'content-type'));
      if (status === 200 && isHtml(headers)) {
        throw fail(
          status,
          'web-page',
          'answered with a web page: is that a portal in between, or not the url of a registry?',
        );
      }
      const says =
        headers['docker-distribution-api-version'] !== undefined || type === 'application/json' || type === '';
      if (status === 200 && says) return { kind: 'found', value: undefined };
      const hint = status === 404 ? '; a registry below a path needs that path in its url' : '';
      throw fail(status, 'no-registry', `is no registry: it answered ${status} to /v2/${hint}`);
    },
  };
}
