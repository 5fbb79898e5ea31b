import { ProxyCacheError } from '@proxycache/core';
import { type ErrorCode, LineCounter, parseDocument } from 'yaml';

// In words of our own: those of the library quote the text, which may be a password.
const said: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: 'a tag or an anchor before an alias; put text that starts with "!", "&" or "*" in quotes',
  BAD_ALIAS: 'an alias or an anchor without a proper name; put text that starts with "*" or "&" in quotes',
  BAD_COLLECTION_TYPE: 'a tag that does not fit what it stands before',
  BAD_DIRECTIVE: 'a directive that YAML does not have; put text that starts with "%" in quotes',
  BAD_DQ_ESCAPE: 'a backslash that escapes nothing; write two of them, or put the text in single quotes',
  BAD_INDENT: 'this is indented otherwise than what it belongs to, or a closing bracket is missing',
  BAD_PROP_ORDER: 'a tag or an anchor before the sign that it belongs behind',
  BAD_SCALAR_START: 'text that starts with a sign that YAML keeps for itself; put it in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'keys or a list on the line of another key; put text that has ": " in quotes',
  BLOCK_IN_FLOW: 'keys or a list by indentation inside of {} or []; put text that has ": " in quotes',
  DUPLICATE_KEY: 'a key that is there already',
  IMPOSSIBLE: 'this is no YAML',
  KEY_OVER_1024_CHARS: 'a key of more than 1024 characters; is the ":" missing?',
  MISSING_CHAR: 'something is missing: a closing quote, ":" or ",", or a space',
  MULTILINE_IMPLICIT_KEY: 'a key of several lines; is the ":" missing, or the space behind it?',
  MULTIPLE_ANCHORS: 'more than one anchor; put text that starts with "&" in quotes',
  MULTIPLE_DOCS: 'a second document; a configuration is one',
  MULTIPLE_TAGS: 'more than one tag; put text that starts with "!" in quotes',
  NON_STRING_KEY: 'a key that is no text',
  RESOURCE_EXHAUSTION: 'this is nested too deep',
  TAB_AS_INDENT: 'indented by a tab; YAML wants spaces',
  TAG_RESOLVE_FAILED: 'a tag; put text that starts with "!" in quotes',
  UNEXPECTED_TOKEN: 'this does not belong here; put text that has signs such as | > { } [ ] or quotes in quotes',
};

/**
 * What YAML, or JSON, holds. Messages say the place and never quote the text there.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function parseYaml(text: string): unknown {
  const lines = new LineCounter();
  const document = parseDocument(text, { prettyErrors: false, lineCounter: lines });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem) {
    const { line, col } = lines.linePos(problem.pos[0]);
    throw new ProxyCacheError('invalid-options', `line ${line}, column ${col}: ${said[problem.code]}`);
  }
  try {
    return document.toJS();
  } catch {
    // Without its cause, which quotes the text.
    throw new ProxyCacheError(
      'invalid-options',
      'an alias cannot be resolved; put text that starts with "*" in quotes',
    );
  }
}
