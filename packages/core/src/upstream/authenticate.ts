import type { ExchangeResponse } from './exchange.ts';
import type { Question } from './question.ts';

/** A response, and the URL it came from. */
export interface Arrived {
  response: ExchangeResponse;
  url: URL;
}

/** Sends a question with what proves who we are. */
export interface Authenticator {
  send(question: Question, send: (authorization: { authorization?: string }) => Promise<Arrived>): Promise<Arrived>;
}

/** Sends as nobody. */
export const anonymous: Authenticator = { send: (_question, send) => send({}) };
