import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

interface Refusal {
  status: string;
  code: string;
  message: string;
}

const tooLarge: Refusal = {
  status: '431 Request Header Fields Too Large',
  code: 'SIZE_INVALID',
  message: 'the request line and headers are longer than 16 KiB',
};
const late: Refusal = { status: '408 Request Timeout', code: 'UNKNOWN', message: 'the request did not come in time' };
const broken: Refusal = { status: '400 Bad Request', code: 'UNKNOWN', message: 'this is no HTTP/1.1 request' };

function refusalOf(code: string | undefined): Refusal {
  if (code === 'HPE_HEADER_OVERFLOW') return tooLarge;
  return code === 'ERR_HTTP_REQUEST_TIMEOUT' ? late : broken;
}

/**
 * Answers what Node could not read as a request, in the error format of the OCI distribution-spec, and closes the
 * connection: where the next request would begin nobody knows (RFC 9112 9.6). Nothing of what came is repeated.
 */
export function answerBadRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  // As Node's own answer has it: half of another is on its way, or nobody is left to read one.
  const { _httpMessage: running } = socket as { _httpMessage?: ServerResponse | null };
  if (!socket.writable || error.code === 'ECONNRESET' || running?.headersSent) {
    socket.destroy(error);
    return;
  }
  const { status, code, message } = refusalOf(error.code);
  const body = JSON.stringify({ errors: [{ code, message }] });
  const headers = [
    `HTTP/1.1 ${status}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    'Connection: close',
  ];
  socket.end(`${headers.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}
