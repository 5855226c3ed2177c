import * as vscode from 'vscode';
import { stepProgress } from './panel/setupProgress.ts';
import { withoutIcons } from './plainText.ts';
import type { Services } from './services.ts';

/** One status bar item, there only while a setup runs. */
export class SetupStatusBar implements vscode.Disposable {
  readonly #services: Services;
  readonly #subscription: vscode.Disposable;
  #item: vscode.StatusBarItem | undefined;

  constructor(services: Services) {
    this.#services = services;
    this.#subscription = services.onDidChangeSession(() => {
      this.#update();
    });
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#item?.dispose();
  }

  #update(): void {
    const session = this.#services.runningSessions[0];
    if (!session) {
      this.#item?.dispose();
      this.#item = undefined;
      return;
    }
    this.#item ??= vscode.window.createStatusBarItem('milvusLayer7.setup', vscode.StatusBarAlignment.Left);
    const { target, progress } = session;
    const { steps } = progress.plan;
    const step = steps.find((candidate) => stepProgress(progress, candidate).state === 'running');
    const place = step ? ` ${String(steps.indexOf(step) + 1)}/${String(steps.length)}` : '';
    this.#item.name = vscode.l10n.t('Set-Up of Milvus Layer 7');
    this.#item.text = `$(sync~spin) ${withoutIcons(target.release)}${place}`;
    this.#item.tooltip = vscode.l10n.t('Setting up Layer 7 for {0}: {1}', target.release, step?.title ?? '');
    this.#item.accessibilityInformation = { label: this.#item.tooltip };
    this.#item.command = {
      command: 'milvusLayer7.openStatus',
      title: vscode.l10n.t('Open Status'),
      arguments: [target],
    };
    this.#item.show();
  }
}
