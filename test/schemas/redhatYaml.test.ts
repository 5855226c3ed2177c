/**
 * The way through Red Hat's extension: its published API (redhat-developer/vscode-yaml `src/schema-extension-api.ts`)
 * in front of the real YAML language server, over the server's wire protocol. Only `vscode` itself is a stand-in.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type * as vscode from 'vscode';
import {
  createMessageConnection,
  StreamMessageReader,
  StreamMessageWriter,
  type MessageConnection,
} from 'vscode-jsonrpc/node';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { RedhatYamlSchemas } from '../../src/ui/editor/redhatYaml.ts';
import { repository } from '../paths.ts';

/** A document of the stand-in. */
interface Document {
  uri: { toString(): string };
  languageId: string;
  getText(): string;
}

const editor = vi.hoisted(() => ({
  documents: [] as unknown[],
  opened: [] as ((document: unknown) => void)[],
  extensionsChanged: [] as (() => void)[],
  redhat: undefined as { activate(): Promise<unknown> } | undefined,
  filesRead: [] as string[],
}));

vi.mock('vscode', () => ({
  Uri: {
    parse: (text: string) => ({ toString: () => decodeURIComponent(text) }),
    joinPath: (base: string, ...parts: string[]) => [base, ...parts].join('/'),
  },
  l10n: {
    t: (text: string, ...values: unknown[]) => text.replaceAll(/\{(\d)\}/g, (_, n) => String(values[Number(n)])),
  },
  extensions: {
    getExtension: (id: string) => (id === 'redhat.vscode-yaml' ? editor.redhat : undefined),
    onDidChange: (run: () => void) => {
      editor.extensionsChanged.push(run);
      return { dispose: () => editor.extensionsChanged.splice(0) };
    },
  },
  workspace: {
    get textDocuments() {
      return editor.documents;
    },
    onDidOpenTextDocument: (run: (document: unknown) => void) => {
      editor.opened.push(run);
      return { dispose: () => editor.opened.splice(0) };
    },
    fs: {
      readFile: (file: string) => {
        editor.filesRead.push(path.basename(file));
        return readFile(file);
      },
    },
  },
}));

/** Red Hat's side: routes contributors to the server as its extension does, by the scheme of the URI. */
class RedhatClient {
  readonly activate = vi.fn(() => Promise.resolve({ registerContributor: this.#register.bind(this) }));
  readonly contributors = new Map<
    string,
    { schema: (resource: string) => string | undefined; content: (uri: string) => string | Promise<string> }
  >();
  readonly #server: ChildProcess;
  readonly #connection: MessageConnection;
  readonly #waiting = new Map<string, (messages: string[]) => void>();

  constructor() {
    this.#server = spawn(
      process.execPath,
      [path.join(repository, 'node_modules/yaml-language-server/bin/yaml-language-server'), '--stdio'],
      { stdio: ['pipe', 'pipe', 'ignore'] },
    );
    if (!this.#server.stdout || !this.#server.stdin) throw new Error('The server has no pipes.');
    this.#connection = createMessageConnection(
      new StreamMessageReader(this.#server.stdout),
      new StreamMessageWriter(this.#server.stdin),
    );
    this.#connection.onRequest('custom/schema/request', (resource: string) =>
      [...this.contributors.values()].map(({ schema }) => schema(resource)).filter((uri) => uri !== undefined),
    );
    this.#connection.onRequest('custom/schema/content', (uri: string) => {
      const contributor = this.contributors.get(new URL(uri).protocol.replace(':', ''));
      if (!contributor) throw new Error(`Nobody has ${uri}`);
      return contributor.content(uri);
    });
    this.#connection.onRequest('workspace/configuration', () => [
      { validate: true, schemaStore: { enable: false }, kubernetesCRDStore: { enable: false } },
      {},
      {},
      {},
      {},
    ]);
    this.#connection.onRequest('client/registerCapability', () => null);
    this.#connection.onNotification(
      'textDocument/publishDiagnostics',
      ({ uri, diagnostics }: { uri: string; diagnostics: { message: string }[] }) => {
        this.#waiting.get(uri)?.(diagnostics.map(({ message }) => message));
      },
    );
    this.#connection.listen();
  }

  #register(
    name: string,
    schema: (resource: string) => string | undefined,
    content: (uri: string) => string | Promise<string>,
  ): boolean {
    if (this.contributors.has(name)) return false;
    this.contributors.set(name, { schema, content });
    return true;
  }

  async start(): Promise<void> {
    await this.#connection.sendRequest('initialize', {
      processId: process.pid,
      rootUri: null,
      capabilities: { workspace: { configuration: true } },
    });
    await this.#connection.sendNotification('initialized', {});
    await this.#connection.sendNotification('yaml/registerCustomSchemaRequest');
  }

  /** Opens the document in the editor and in the server; resolves with what the server finds. */
  async findings(uri: string, text: string): Promise<string[]> {
    show(uri, text);
    await vi.waitFor(() => {
      expect(this.contributors.size).toBe(1);
    });
    const found = new Promise<string[]>((resolve) => this.#waiting.set(uri, resolve));
    await this.#connection.sendNotification('textDocument/didOpen', {
      textDocument: { uri, languageId: 'yaml', version: 1, text },
    });
    return found;
  }

  async stop(): Promise<void> {
    this.#connection.dispose();
    const ended = once(this.#server, 'exit');
    this.#server.kill();
    await ended;
  }
}

/** Shows a document in the stand-in's editor. */
function show(uri: string, text: string, languageId = 'yaml'): void {
  const document: Document = { uri: { toString: () => decodeURIComponent(uri) }, languageId, getText: () => text };
  editor.documents.push(document);
  for (const run of editor.opened) run(document);
}

const log = { info: vi.fn(), warn: vi.fn(), error: vi.fn(), debug: vi.fn() };
let schemas: RedhatYamlSchemas | undefined;

beforeEach(() => {
  editor.documents = [];
  editor.filesRead = [];
  editor.redhat = undefined;
  vi.clearAllMocks();
});
afterEach(() => {
  schemas?.dispose();
});

const start = (): RedhatYamlSchemas => (schemas = new RedhatYamlSchemas(log, repository as unknown as vscode.Uri));
const wrong =
  'apiVersion: cloud.google.com/v1\nkind: BackendConfig\nmetadata: {name: a}\nspec: {healthCheck: {protocol: HTTP}}\n';

it('gives our schemas to the server for a manifest of ours, and none for others', async () => {
  const client = new RedhatClient();
  try {
    await client.start();
    editor.redhat = client;
    start();
    expect(client.activate).not.toHaveBeenCalled();

    expect(await client.findings('file:///w/compose.yaml', 'services: {web: {image: nginx}}\n')).toEqual([]);
    expect(client.activate).toHaveBeenCalledOnce();
    expect(editor.filesRead).toEqual([]);

    expect(await client.findings('file:///w/a%20b.yaml', wrong)).toEqual([
      expect.stringMatching(/"type" instead of "protocol"/),
    ]);
    expect(await client.findings('file:///w/again.yaml', wrong)).toHaveLength(1);
    expect(editor.filesRead.length).toBe(new Set(editor.filesRead).size);
    expect(client.activate).toHaveBeenCalledOnce();
    expect(log.warn).not.toHaveBeenCalled();
  } finally {
    await client.stop();
  }
}, 30_000);

const accepting = (accepts = true) => {
  const registerContributor = vi.fn(() => accepts);
  return { registerContributor, activate: vi.fn(() => Promise.resolve({ registerContributor })) };
};

it('asks an extension that is installed later, and again after it was removed', async () => {
  start();
  show('file:///a.yaml', wrong);
  for (let round = 1; round <= 2; round++) {
    const redhat = accepting();
    editor.redhat = redhat;
    for (const run of editor.extensionsChanged) run();
    await vi.waitFor(() => {
      expect(redhat.registerContributor).toHaveBeenCalledOnce();
    });
    editor.redhat = undefined;
    for (const run of editor.extensionsChanged) run();
  }
});

it('leaves Red Hat’s extension asleep while no YAML is open', () => {
  const redhat = accepting();
  editor.redhat = redhat;
  start();
  show('file:///a.json', '{}', 'json');
  expect(redhat.activate).not.toHaveBeenCalled();
});

it.each([
  ['the name is taken', accepting(false), /milvus-layer7 is taken/],
  ['it has another API', { activate: () => Promise.resolve({}) }, /no registerContributor/],
  ['it fails', { activate: () => Promise.reject(new Error('broken')) }, /broken/],
])('says once in the log that %s', async (_, redhat, says) => {
  editor.redhat = redhat;
  start();
  show('file:///a.yaml', wrong);
  await vi.waitFor(() => {
    expect(log.warn).toHaveBeenCalledWith(expect.stringMatching(says));
  });
  show('file:///b.yaml', wrong);
  expect(log.warn).toHaveBeenCalledOnce();
});
