const start = '<!-- figures: written by npm run bench -- --write -->';
const end = '<!-- end of figures -->';

/** A page with other text between its marks. @throws Error when it has none */
export function replaceMarked(page: string, text: string): string {
  const [from, to] = [page.indexOf(start), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`the page lacks "${start}" and "${end}"`);
  return `${page.slice(0, from + start.length)}\n\n${text.trim()}\n\n${page.slice(to)}`;
}
