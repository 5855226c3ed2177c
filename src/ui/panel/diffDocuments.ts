import * as vscode from 'vscode';
import type { StepDiff } from '../../core/loadbalancer/diff.ts';

const scheme = 'milvus-layer7-diff';

/** Texts of diffs for VS Code's own diff editor. They hold nothing of Secrets; see `stepDiff` of the core. */
export class DiffDocuments implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #texts = new Map<string, string>();
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly #subscriptions: { dispose(): unknown }[];

  readonly onDidChange = this.#changed.event;

  constructor() {
    this.#subscriptions = [
      vscode.workspace.registerTextDocumentContentProvider(scheme, this),
      vscode.workspace.onDidCloseTextDocument((document) => {
        if (document.uri.scheme === scheme) this.#texts.delete(document.uri.toString());
      }),
      this.#changed,
    ];
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.#texts.get(uri.toString()) ?? '';
  }

  /** Opens the diff editor: on the left what is there, on the right what the step makes of it. */
  async show(name: string, diff: StepDiff): Promise<void> {
    const [live, wanted] = (['live', 'planned'] as const).map((side) =>
      vscode.Uri.from({ scheme, path: `/${side}/${name}.yaml` }),
    );
    if (!live || !wanted) return;
    this.#set(live, diff.live);
    this.#set(wanted, diff.wanted);
    await vscode.commands.executeCommand(
      'vscode.diff',
      live,
      wanted,
      vscode.l10n.t('{0}: live ↔ planned', diff.title),
      { preview: true, viewColumn: vscode.ViewColumn.Active } satisfies vscode.TextDocumentShowOptions,
    );
  }

  dispose(): void {
    for (const subscription of this.#subscriptions) subscription.dispose();
  }

  #set(uri: vscode.Uri, text: string): void {
    this.#texts.set(uri.toString(), text);
    this.#changed.fire(uri);
  }
}
