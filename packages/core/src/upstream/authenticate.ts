import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { byDeadline, type Deadline } from './by-deadline.ts';
import type { CredentialSource, HeldCredential } from './credential-source.ts';
import { createCredentialTrials, givesAnyToken, type RefusedCredential } from './credential-trials.ts';
import type { ExchangeResponse } from './exchange.ts';
import { asksFor, isAboutScope, type KnownChallenge, RealmRefused, readChallenge } from './known-challenge.ts';
import { letGo } from './let-go.ts';
import type { Denial, Question } from './question.ts';
import type { Rejections } from './rejection.ts';
import type { TokenRequest, Tokens } from './token.ts';
import { basicAuthorization } from './token-service.ts';
import { isUpstreamError, UpstreamError } from './upstream-error.ts';

/** A response, and the URL it came from. */
export interface Arrived {
  response: ExchangeResponse;
  url: URL;
}

/** The ways to the registry, with what proves who we are in the headers. */
export interface Ways {
  /** Asks the question itself. */
  ask(headers: { authorization?: string }): Promise<Arrived>;
  /** Asks for `/v2/`, which is no repository's. Rejects where the answer is that it cannot say. */
  ping(headers: { authorization: string }, wait: Deadline): Promise<Arrived>;
}

/** Sends a question with what proves who we are. */
export interface Authenticator {
  /**
   * Asks once where it is known how to prove that, twice while it is not or where a cached proof was refused.
   *
   * @throws UpstreamError `token-failed`, `credentials-rejected`, `address-refused`, and what sending throws
   */
  send(question: Question, ways: Ways): Promise<Arrived | Denial>;
  /** Where tokens come from, as far as is known. */
  tokenService(): URL | undefined;
  /** Whether a token of {@link tokenService} for a repository is here, so that it need not be asked. */
  holdsToken(query: { repository: string; scope: string }): boolean;
}

/** What an authenticator is made of. */
export interface AuthenticatorParts {
  /** The upstream's key. */
  key: string;
  clock: Clock;
  /** `undefined`: anonymous. */
  source: CredentialSource | undefined;
  tokens: Tokens;
  rejections: Rejections;
  isOwn(url: URL): boolean;
  /** Whether each question has to bring its caller's credential. */
  ofCallers: boolean;
}

/** What went with a request. */
type Proof =
  | { kind: 'nothing' }
  | { kind: 'basic' | 'direct'; authorization: string; held: HeldCredential }
  | { kind: 'token'; authorization: string; token: string; cached: boolean; request: TokenRequest };

/** To be judged once the answer is let go of: that takes another connection. */
type Refused = { kind: 'refused' } & Omit<RefusedCredential, 'since'>;

// The first answer may teach the challenge, the second refuse a token of a scope it then corrects.
const mostAnswers = 2;

/** Makes the authenticator of one upstream. Its credential goes to its own origin and its token hosts, nowhere else. */
export function createAuthenticator(parts: AuthenticatorParts): Authenticator {
  const { key, clock, source, tokens, rejections } = parts;
  const trials = createCredentialTrials({ key, clock, rejections });
  let known: KnownChallenge | undefined;

  async function hold(question: Question, refused?: number): Promise<HeldCredential | undefined> {
    // Another password is another caller: there is but one of each.
    if (question.caller) return { credential: question.caller.reveal(), generation: 0 };
    // Whether it is there, nobody in particular may ask.
    if (parts.ofCallers && question.operation !== 'ping')
      throw new ProxyCacheError('unauthenticated', `${key} is asked with its callers' credentials alone`);
    if (!source) return undefined;
    const late = () => new UpstreamError('timeout', `${key}: its credential was not given in time`, { upstream: key });
    return await byDeadline(question, { clock, late }, (signal) =>
      source.get({ signal, ...(refused !== undefined && { refused }) }),
    );
  }

  /** Proof with the credential that follows a refused one; `undefined` where there is no other. */
  async function renew(question: Question, refused: HeldCredential): Promise<Proof | Denial | undefined> {
    const held = await hold(question, refused.generation);
    return held && held.generation !== refused.generation ? await prove(question, held) : undefined;
  }

  async function prove(question: Question, held: HeldCredential | undefined): Promise<Proof | Denial> {
    if (held) rejections.check(question, held.generation);
    if (held && 'token' in held.credential) {
      return { kind: 'direct', authorization: `Bearer ${held.credential.token}`, held };
    }
    if (known?.kind === 'bearer') return await proveByToken(question, known, held);
    if (known?.kind !== 'basic' || !held) return { kind: 'nothing' };
    return { kind: 'basic', authorization: basicAuthorization(held.credential as BasicCredential), held };
  }

  async function proveByToken(
    question: Question,
    challenge: KnownChallenge & { kind: 'bearer' },
    held: HeldCredential | undefined,
  ): Promise<Proof | Denial> {
    const { realm, service } = challenge;
    const request = { realm, service, scope: challenge.scopeOf(question.repository), held, owner: question.scope };
    const since = trials.passed();
    const reply = await tokens.get(request, question);
    if (reply.kind === 'denied') return reply;
    if (reply.kind === 'token') {
      if (held && !reply.cached) rejections.accepted(question, held.generation);
      const { token, cached } = reply;
      return { kind: 'token', authorization: `Bearer ${token}`, token, cached, request };
    }
    const renewed = held && (await renew(question, held));
    if (renewed) return renewed;
    const isGood = (wait: Deadline) => givesAnyToken(tokens, request, wait);
    return await trials.judge(question, { generation: held?.generation ?? 0, host: reply.host, since, isGood });
  }

  /** What to send instead, after an answer; `undefined`: the answer stands. */
  async function reconsider(
    question: Question,
    proof: Proof,
    { arrived, ping }: { arrived: Arrived; ping: Ways['ping'] },
  ): Promise<Proof | Denial | Refused | undefined> {
    const { status, headers } = arrived.response;
    if (![400, 401, 403].includes(status) || !parts.isOwn(arrived.url)) return undefined;
    const told = headers['www-authenticate'];
    const challenge = status === 401 ? learn(question, arrived) : undefined;
    if (proof.kind === 'nothing') return challenge && (await prove(question, await hold(question)));
    if (proof.kind === 'token') {
      const corrected = challenge && !asksFor(challenge, proof.request, question.repository);
      if (!proof.cached && !corrected) return undefined;
      tokens.drop(proof.request, proof.token);
      return await prove(question, await hold(question));
    }
    if (proof.kind === 'basic' && challenge?.kind === 'bearer') return await prove(question, proof.held);
    const renewed = await renew(question, proof.held);
    if (renewed || status !== 401 || !challenge || isAboutScope(told)) return renewed;
    const isGood = async (wait: Deadline) => {
      const { response, url } = await ping({ authorization: proof.authorization }, wait);
      letGo(response);
      return response.status < 300 && parts.isOwn(url);
    };
    return { kind: 'refused', generation: proof.held.generation, host: arrived.url.host, isGood };
  }

  function learn({ repository }: Question, { response, url }: Arrived): KnownChallenge | undefined {
    try {
      const challenge = readChallenge(response.headers['www-authenticate'], { url, repository });
      if (challenge) known = challenge;
      return challenge;
    } catch (error) {
      throw error instanceof RealmRefused ? refusedRealm(key, error) : error;
    }
  }

  /**
   * What to begin with. A remembered challenge may be of a time when somebody else answered in the registry's place, or
   * of a token service that it has left: where it leads to no token, the registry is asked what it wants now.
   */
  async function begin(question: Question): Promise<{ proof: Proof | Denial; lapsed?: Lapsed }> {
    const challenge = known;
    const held = await hold(question);
    try {
      const proof = await prove(question, held);
      if (proof.kind !== 'denied' || challenge?.kind !== 'bearer') return { proof };
      return { proof: { kind: 'nothing' }, lapsed: { challenge, end: () => proof } };
    } catch (error) {
      if (challenge?.kind !== 'bearer' || !mayHaveMoved(error)) throw error;
      const end = () => {
        throw error;
      };
      return { proof: { kind: 'nothing' }, lapsed: { challenge, end } };
    }
  }

  /** Whether the registry wants nothing any more, or another token. A "no" to nobody in particular is no news. */
  function isNews(lapsed: Lapsed['challenge'], question: Question, arrived: Arrived): boolean {
    const { status } = arrived.response;
    if (status !== 401 || !parts.isOwn(arrived.url)) return status < 300;
    const challenge = learn(question, arrived);
    const { repository } = question;
    return challenge !== undefined && !asksFor(challenge, { ...lapsed, scope: lapsed.scopeOf(repository) }, repository);
  }

  function noteTaken(question: Question, proof: Proof, { status }: ExchangeResponse): void {
    if (proof.kind === 'token' && status < 400) {
      tokens.worked(proof.request);
      if (proof.request.held) rejections.worked(question, proof.request.held.generation);
    }
    if (proof.kind !== 'basic' && proof.kind !== 'direct') return;
    // A failure or a limit says nothing of a credential, and of one of many callers only what it is given does.
    if (status < 400 || (status === 404 && !question.caller)) rejections.accepted(question, proof.held.generation);
  }

  return {
    tokenService: () => (known?.kind === 'bearer' ? known.realm : undefined),
    holdsToken({ repository, scope: owner }) {
      if (known?.kind !== 'bearer') return false;
      const { realm, service } = known;
      return tokens.has({ realm, service, scope: known.scopeOf(repository), owner });
    },
    async send(question, { ask, ping }) {
      const { proof: first, lapsed } = await begin(question);
      let proof = first;
      for (let answers = 0; ; answers++) {
        if (proof.kind === 'denied') return proof;
        const since = trials.passed();
        const arrived = await ask(proof.kind === 'nothing' ? {} : { authorization: proof.authorization });
        let next: Proof | Denial | Refused | undefined;
        try {
          if (answers === 0 && lapsed && !isNews(lapsed.challenge, question, arrived)) next = lapsed.end();
          else next = answers < mostAnswers ? await reconsider(question, proof, { arrived, ping }) : undefined;
        } catch (error) {
          letGo(arrived.response);
          throw error;
        }
        if (!next || next.kind === 'nothing') {
          noteTaken(question, proof, arrived.response);
          return arrived;
        }
        letGo(arrived.response);
        proof = next.kind === 'refused' ? await trials.judge(question, { ...next, since }) : next;
      }
    },
  };
}

/** A remembered challenge that led to no token, and what came of it. */
type Lapsed = { challenge: KnownChallenge & { kind: 'bearer' }; end(): Denial };

/** Whether asking the token service failed in a way that leaves open whether it is still the registry's. */
function mayHaveMoved(error: unknown): boolean {
  const codes = ['token-failed', 'unreachable', 'unavailable', 'address-refused', 'foreign-answer'];
  return isUpstreamError(error) && codes.includes(error.code);
}

type BasicCredential = { username: string; password: string };

function refusedRealm(key: string, cause: RealmRefused): UpstreamError {
  return new UpstreamError('address-refused', `${key} ${cause.message}`, { upstream: key, cause });
}
