/**
 * The query of the next page by a `Link` header (RFC 8288). Only that is kept: origin and path are ours to say, and a
 * cursor comes back to us from clients, who must not choose them. Registries behind a TLS proxy link to a scheme or host
 * of the inside; without their next page the list would look as if it ended here.
 *
 * @param base the URL of the page that the header came with
 */
export function nextPageQuery(header: string | readonly string[] | undefined, base: URL): string | undefined {
  for (const text of typeof header === 'string' ? [header] : (header ?? [])) {
    const target = nextTarget(text);
    if (target === undefined || !URL.canParse(target, base.href)) continue;
    const url = new URL(target, base);
    if (url.search !== '' && url.search !== base.search) return url.search.slice(1);
  }
  return undefined;
}

/** The target of the link whose relation is `next`, found in one scan: targets and values may hold commas. */
function nextTarget(text: string): string | undefined {
  let at = text.indexOf('<');
  while (at >= 0) {
    const close = text.indexOf('>', at);
    if (close < 0) return undefined;
    const end = endOfParameters(text, close + 1);
    if (isNext(text.slice(close + 1, end))) return text.slice(at + 1, close);
    at = text.indexOf('<', end);
  }
  return undefined;
}

function endOfParameters(text: string, from: number): number {
  let quoted = false;
  for (let at = from; at < text.length; at++) {
    if (text[at] === '"') quoted = !quoted;
    else if (text[at] === ',' && !quoted) return at;
  }
  return text.length;
}

function isNext(parameters: string): boolean {
  return parameters.split(';').some((parameter) => {
    const [name, value = ''] = parameter.split('=', 2).map((part) => part.trim().toLowerCase());
    return name === 'rel' && value.replaceAll('"', '').split(' ').includes('next');
  });
}
