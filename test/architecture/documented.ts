import { type Node, type SourceFile, walk } from './source-file.ts';

/** The strings of an exported union type, such as `ErrorCode`. */
export function unionMembers(file: SourceFile, typeName: string): string[] {
  const found: string[] = [];
  walk(file, (node) => {
    if (node.type !== 'TSTypeAliasDeclaration' || node.id.name !== typeName) return;
    if (node.typeAnnotation.type !== 'TSUnionType') return;
    for (const member of node.typeAnnotation.types) {
      if (member.type === 'TSLiteralType' && member.literal.type === 'Literal')
        found.push(String(member.literal.value));
    }
  });
  return orThrow(found, `${file.path}: no union ${typeName}`);
}

/** The options of an interface; those of an object within it as `outer.inner`. */
export function optionNames(file: SourceFile, interfaceName: string): string[] {
  const found: string[] = [];
  walk(file, (node) => {
    if (node.type !== 'TSInterfaceDeclaration' || node.id.name !== interfaceName) return;
    for (const member of node.body.body) found.push(...memberNames(member, ''));
  });
  return orThrow(found, `${file.path}: no interface ${interfaceName}`);
}

function memberNames(member: Node, prefix: string): string[] {
  if (member.type !== 'TSPropertySignature' || member.key.type !== 'Identifier') return [];
  const name = `${prefix}${member.key.name}`;
  const type = member.typeAnnotation?.typeAnnotation;
  const inner = type?.type === 'TSTypeLiteral' ? type.members.flatMap((one) => memberNames(one, `${name}.`)) : [];
  return [name, ...inner];
}

/** The names that a page does not mention as code: `outer.inner` may stand there as that or as `inner`. */
export function undocumented(names: readonly string[], page: SourceFile): string[] {
  const code = [...page.text.matchAll(/```[\s\S]*?```|`[^`\n]+`/g)].map(([text]) => text).join('\n');
  const words = new Set(code.match(/[A-Za-z_][\w-]*/g));
  return names
    .filter((name) => !words.has(name.slice(name.lastIndexOf('.') + 1)))
    .map((name) => `${page.path}: says nothing of ${name}`);
}

function orThrow(found: string[], message: string): string[] {
  if (found.length === 0) throw new Error(message);
  return found;
}
