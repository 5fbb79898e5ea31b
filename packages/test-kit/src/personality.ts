import { type Answer, type Exchange, htmlPage, ociError } from './answer.ts';

/** Why a registry does not let a request through. */
export type Refusal =
  /** No credential was sent. */
  | 'none'
  /** A credential or token that is not known, or no longer. */
  | 'invalid'
  /** A token past its life. */
  | 'expired'
  /** A good token without this repository in it. */
  | 'scope';

/** How a registry differs from one that keeps to the specification. All parts may be left out. */
export interface Personality {
  /** Repositories that do not exist are refused like ones that the caller may not read. */
  hidesMissing?: boolean;
  /** The answer to a request that is refused; `undefined`: 401 with a challenge. */
  refuse?(refusal: Refusal): Answer | undefined;
  /** The token service's answer where a scope is not granted. Left out: a token without that scope. */
  refuseToken?(): Answer;
  /** Whether the referrers API is missing. */
  noReferrers?: boolean;
  /** Whether Range is ignored. */
  noRanges?: boolean;
  /** Has the last word on every answer, the token service's too. */
  alter?(answer: Answer, request: Exchange): Answer;
}

const onHead =
  (change: (answer: Answer) => Answer) =>
  (answer: Answer, request: Exchange): Answer =>
    request.method === 'HEAD' && /\/(manifests|blobs)\//.test(request.path) && answer.status === 200
      ? change(answer)
      : answer;

function without(answer: Answer, name: string): Answer {
  const { [name]: _, ...headers } = answer.headers;
  return { ...answer, headers };
}

const expiredCredential = (status: number) => (refusal: Refusal) =>
  refusal === 'none' ? undefined : ociError(status, 'DENIED', 'The authorization token has expired; get another one.');

/** The name of a ready-made personality. */
export type PersonalityName =
  | 'docker-hub'
  | 'ghcr'
  | 'ecr'
  | 'ecr-public'
  | 'captive-portal'
  | 'waf'
  | 'html-404'
  | 'head-404'
  | 'head-405'
  | 'head-without-digest'
  | 'no-digest'
  | 'no-content-length'
  | 'no-ranges'
  | 'strict-accept';

/** Registries and middlemen as they are met in the field. Several may be put together. */
export const personalities: Readonly<Record<PersonalityName, Personality>> = {
  /** 401 for what is missing, even to a good token; its quota in every manifest answer. */
  'docker-hub': {
    hidesMissing: true,
    alter: (answer, { path }) =>
      /\/manifests\//.test(path) && answer.status < 400
        ? {
            ...answer,
            headers: {
              ...answer.headers,
              'ratelimit-limit': '100;w=21600',
              'ratelimit-remaining': '76;w=21600',
              'docker-ratelimit-source': '127.0.0.1',
            },
          }
        : answer,
  },
  /** Its token service says 403 for missing and private repositories; no referrers API. */
  ghcr: {
    hidesMissing: true,
    noReferrers: true,
    refuseToken: () => ociError(403, 'DENIED', 'requested access to the resource is denied'),
  },
  /** 403 without a challenge for an expired credential. */
  ecr: { refuse: expiredCredential(403) },
  /** 400 without a challenge for an expired token. */
  'ecr-public': { refuse: expiredCredential(400) },
  /** A network's sign-in page with status 200, whatever is asked. */
  'captive-portal': { alter: () => htmlPage(200, 'Sign in to the network') },
  /** A firewall's page with status 403, whatever is asked. */
  waf: { alter: () => htmlPage(403, 'Request blocked') },
  /** A web server's own 404 page, whatever is asked. */
  'html-404': { alter: () => htmlPage(404, 'Not Found') },
  /** HEAD 404 for what GET finds, as chained proxies answer for content they have not fetched. */
  'head-404': { alter: onHead(() => ociError(404, 'NAME_UNKNOWN', 'not cached')) },
  'head-405': { alter: onHead(() => ociError(405, 'UNSUPPORTED', 'HEAD is not supported', { allow: 'GET' })) },
  'head-without-digest': { alter: onHead((answer) => without(answer, 'docker-content-digest')) },
  /** No Docker-Content-Digest and no ETag on any answer. */
  'no-digest': { alter: (answer) => without(without(answer, 'docker-content-digest'), 'etag') },
  /** No Content-Length on any answer; bodies come chunked. */
  'no-content-length': { alter: (answer) => ({ ...answer, chunked: true }) },
  /** Answers 200 with the whole to a Range. */
  'no-ranges': { noRanges: true, alter: (answer) => without(answer, 'accept-ranges') },
  /** 404 for a manifest whose type is not in `Accept` by name. */
  'strict-accept': {
    alter: (answer, { path, headers }) =>
      /\/manifests\//.test(path) &&
      answer.status < 300 &&
      !(headers.accept ?? '').includes(answer.headers['content-type'] ?? '')
        ? ociError(404, 'MANIFEST_UNKNOWN', 'the stored type is not among those accepted')
        : answer,
  },
};

/** The names and personalities as one: the first to answer a refusal wins, alterations follow one another. */
export function combine(given: readonly (PersonalityName | Personality)[]): Personality {
  const parts = given.map((part): Personality => (typeof part === 'string' ? personalities[part] : part));
  const refuseToken = parts.find((part) => part.refuseToken)?.refuseToken;
  return {
    hidesMissing: parts.some((part) => part.hidesMissing),
    noReferrers: parts.some((part) => part.noReferrers),
    noRanges: parts.some((part) => part.noRanges),
    ...(refuseToken && { refuseToken }),
    refuse(refusal) {
      for (const part of parts) {
        const answer = part.refuse?.(refusal);
        if (answer) return answer;
      }
      return undefined;
    },
    alter: (answer, request) => parts.reduce((altered, part) => part.alter?.(altered, request) ?? altered, answer),
  };
}
