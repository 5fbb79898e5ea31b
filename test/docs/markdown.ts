import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the repository. */
export const root: string = fileURLToPath(new URL('../../', import.meta.url));

/** A page, by its path from the root with `/`, and its text. */
export interface Page {
  path: string;
  text: string;
}

const passedBy = new Set(['node_modules', 'dist', '.git', '.pack', '.changeset']);

/** Every markdown page of the repository. */
export function allPages(folder: string = root): Page[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry): Page[] => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return passedBy.has(entry.name) ? [] : allPages(path);
    return entry.name.endsWith('.md') ? [readPage(relative(root, path).split(sep).join('/'))] : [];
  });
}

/** @throws when there is no such page */
export function readPage(path: string): Page {
  return { path, text: readFileSync(join(root, path), 'utf8').replaceAll('\r\n', '\n') };
}

/** A block between ``` fences: its language, what follows it, its code, and the line that its code starts at. */
export interface Fence {
  language: string;
  info: string;
  code: string;
  line: number;
}

/** The fences of a page; those in lists may be indented. */
export function fencesOf(text: string): Fence[] {
  const fences: Fence[] = [];
  let open: { indent: string; language: string; info: string; line: number; code: string[] } | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const mark = /^( *)```(\S*)(.*)/.exec(line);
    if (!open && mark) {
      const [, indent = '', language = '', info = ''] = mark;
      open = { indent, language, info: info.trim(), line: index + 2, code: [] };
    } else if (open && mark?.[2] === '') {
      fences.push({ language: open.language, info: open.info, line: open.line, code: `${open.code.join('\n')}\n` });
      open = undefined;
    } else if (open) {
      open.code.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line);
    }
  }
  if (open) throw new Error(`the fence at line ${open.line - 1} is never closed`);
  return fences;
}

/** The text without fences, so that code is not taken for prose; lines keep their numbers. */
export function proseOf(text: string): string {
  let inFence = false;
  const lines = text.split('\n').map((line) => {
    const isMark = /^ *```/.test(line);
    const hidden = inFence || isMark;
    if (isMark) inFence = !inFence;
    return hidden ? '' : line;
  });
  return lines.join('\n');
}

/** The rows of all tables of a text, as cells without padding, without heads and rulers. */
export function tableRows(text: string): string[][] {
  const lines = proseOf(text).split('\n');
  return lines
    .filter((line, at) => line.startsWith('|') && !isRuler(line) && !isRuler(lines[at + 1] ?? ''))
    .map((line) => line.replaceAll('\\|', '\0').split('|').slice(1, -1))
    .map((cells) => cells.map((cell) => cell.replaceAll('\0', '|').trim()));
}

const isRuler = (line: string) => /^\|[\s:|-]+\|$/.test(line);

/** The code words of a cell: what stands between backquotes. */
export function codeWords(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, word]) => word ?? '');
}

/** The anchors of a page, by the rule of the web sites that show it: headings in lowercase, spaces as `-`. */
export function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of proseOf(text).matchAll(/^#{1,6} (.+)$/gm)) {
    const slug = heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let again = 1; anchors.has(anchor); again++) anchor = `${slug}-${again}`;
    anchors.add(anchor);
  }
  return anchors;
}
