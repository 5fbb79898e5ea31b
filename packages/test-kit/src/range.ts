import { type Answer, bodyBytes, type Exchange } from './answer.ts';

/**
 * A 200 made into what the request's conditions ask for: 412 for another `If-Match`, 206 or 416 for a single `Range`
 * (RFC 9110 14.2). More than one range, another `If-Range` or a malformed one get the whole.
 */
export function applyRange(answer: Answer, { method, headers }: Exchange): Answer {
  const { etag } = answer.headers;
  if (answer.status !== 200) return answer;
  const ifMatch = headers['if-match'];
  if (ifMatch && ifMatch !== '*' && ifMatch !== etag) {
    return { status: 412, headers: { 'content-type': 'text/plain' }, body: 'precondition failed\n' };
  }
  const whole = { ...answer, headers: { ...answer.headers, 'accept-ranges': 'bytes' } };
  const ifRange = headers['if-range'];
  const match = /^bytes=(\d*)-(\d*)$/.exec(headers.range ?? '');
  if (method !== 'GET' || !match || (match[1] === '' && match[2] === '') || (ifRange && ifRange !== etag)) return whole;
  const body = bodyBytes(answer);
  const last = body.byteLength - 1;
  const from = match[1] === '' ? Math.max(body.byteLength - Number(match[2]), 0) : Number(match[1]);
  const to = match[1] === '' || match[2] === '' ? last : Math.min(Number(match[2]), last);
  if (from > to) {
    const contentRange = `bytes */${body.byteLength}`;
    return { status: 416, headers: { ...whole.headers, 'content-range': contentRange }, body: '' };
  }
  return {
    ...whole,
    status: 206,
    headers: { ...whole.headers, 'content-range': `bytes ${from}-${to}/${body.byteLength}` },
    body: body.subarray(from, to + 1),
  };
}
