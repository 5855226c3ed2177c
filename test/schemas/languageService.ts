/**
 * The YAML language server as a library, with our schemas on the way on which Red Hat's extension gives them to it:
 * a custom schema provider and contents by URI.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { getLanguageService, type Diagnostic } from 'yaml-language-server';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { ManifestSchemas, schemaFor } from '../../src/ui/editor/manifestSchemas.ts';
import { repository } from '../paths.ts';

/** Folder of the schemas. */
export const schemaFolder = path.join(repository, 'schemas');

type Service = ReturnType<typeof getLanguageService>;

const texts = new Map<string, string>();
const contents = new ManifestSchemas((file) => readFile(path.join(schemaFolder, file), 'utf8'));

const connection = {
  onRequest: () => undefined,
  onNotification: () => undefined,
  sendNotification: () => undefined,
  sendRequest: () => undefined,
};

const service: Service = getLanguageService({
  schemaRequestService: (uri: string) => contents.content(uri),
  workspaceContext: { resolveRelativePath: (relative: string, base: string) => new URL(relative, base).toString() },
  clientCapabilities: { textDocument: { completion: { completionItem: { snippetSupport: true } } } },
  connection,
} as unknown as Parameters<typeof getLanguageService>[0]);
service.configure({ validate: true, completion: true, hover: true, customTags: [], yamlVersion: '1.2', schemas: [] });
service.registerCustomSchemaProvider((uri) => Promise.resolve(schemaFor(texts.get(uri) ?? '') ?? []));

let opened = 0;

/** The server caches by URI, so every text gets one of its own. */
function open(text: string): TextDocument {
  const uri = `file:///test-${String(++opened)}.yaml`;
  texts.set(uri, text);
  return TextDocument.create(uri, 'yaml', 0, text);
}

/** A finding, with the source text that it is about. */
export interface Finding {
  message: string;
  at: string;
  source: string | undefined;
}

/** What the server finds in a text. */
export async function validate(text: string): Promise<Finding[]> {
  const document = open(text);
  const found: Diagnostic[] = await service.doValidation(document, false);
  return found.map(({ message, range, source }) => ({
    message: typeof message === 'string' ? message : message.value,
    at: document.getText(range),
    source,
  }));
}

/** Labels that the server offers at `|`. */
export async function complete(textWithCursor: string): Promise<string[]> {
  const offset = textWithCursor.indexOf('|');
  const document = open(textWithCursor.replace('|', ''));
  const { items } = await service.doComplete(document, document.positionAt(offset), false);
  return items.map(({ label }) => label);
}

/** The hover at `|` as text; empty when there is none. */
export async function hover(textWithCursor: string): Promise<string> {
  const offset = textWithCursor.indexOf('|');
  const document = open(textWithCursor.replace('|', ''));
  return JSON.stringify((await service.doHover(document, document.positionAt(offset)))?.contents ?? '');
}
