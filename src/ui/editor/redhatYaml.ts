import * as vscode from 'vscode';
import type { Disposable, Log } from '../../core/ports.ts';
import { ManifestSchemas, schemaFor, schemaScheme } from './manifestSchemas.ts';

const redhatExtension = 'redhat.vscode-yaml';

/** What Red Hat's YAML extension exports (redhat-developer/vscode-yaml `src/schema-extension-api.ts`). */
interface YamlExtension {
  registerContributor(
    name: string,
    requestSchema: (resource: string) => string | undefined,
    requestSchemaContent: (uri: string) => string | Promise<string>,
  ): boolean;
}

function isYamlExtension(value: unknown): value is YamlExtension {
  return (
    typeof value === 'object' &&
    value !== null &&
    'registerContributor' in value &&
    typeof value.registerContributor === 'function'
  );
}

/**
 * Gives our schemas to Red Hat's YAML extension, when it is installed, now or later. Waits for the first YAML document
 * before it activates that extension; schemas are read from disk when the first document of ours asks for one.
 */
export class RedhatYamlSchemas implements Disposable {
  readonly #log: Log;
  readonly #schemas: ManifestSchemas;
  readonly #subscriptions: vscode.Disposable[] = [];
  #state: 'waiting' | 'asked' = 'waiting';

  constructor(log: Log, extensionUri: vscode.Uri) {
    this.#log = log;
    this.#schemas = new ManifestSchemas(async (file) =>
      new TextDecoder().decode(await vscode.workspace.fs.readFile(vscode.Uri.joinPath(extensionUri, 'schemas', file))),
    );
    const registerFor = (documents: readonly vscode.TextDocument[]): void => {
      if (documents.some(({ languageId }) => languageId === 'yaml')) void this.#register();
    };
    this.#subscriptions.push(
      vscode.workspace.onDidOpenTextDocument((document) => {
        registerFor([document]);
      }),
      vscode.extensions.onDidChange(() => {
        // A removed and re-installed extension knows nothing of us.
        if (!vscode.extensions.getExtension(redhatExtension)) this.#state = 'waiting';
        registerFor(vscode.workspace.textDocuments);
      }),
    );
    registerFor(vscode.workspace.textDocuments);
  }

  async #register(): Promise<void> {
    if (this.#state !== 'waiting') return;
    const extension = vscode.extensions.getExtension<unknown>(redhatExtension);
    if (!extension) return;
    this.#state = 'asked';
    try {
      const api = await extension.activate();
      if (!isYamlExtension(api)) throw new Error('It exports no registerContributor.');
      const accepted = api.registerContributor(
        schemaScheme,
        (resource) => this.#requestSchema(resource),
        (uri) => this.#schemas.content(uri),
      );
      if (!accepted) throw new Error(`The name ${schemaScheme} is taken.`);
    } catch (error) {
      this.#log.warn(
        vscode.l10n.t(
          'The YAML extension of Red Hat took no schemas for load balancers: {0}',
          error instanceof Error ? error.message : String(error),
        ),
      );
    }
  }

  #requestSchema(resource: string): string | undefined {
    // Both sides encode a URI in their own way, so the parsed forms are compared.
    const uri = vscode.Uri.parse(resource).toString();
    const document = vscode.workspace.textDocuments.find((open) => open.uri.toString() === uri);
    return document && schemaFor(document.getText());
  }

  dispose(): void {
    for (const subscription of this.#subscriptions) subscription.dispose();
  }
}
