import * as vscode from 'vscode';
import { prefix } from '../settings.ts';

/** Lets the user choose kubeconfig files and keeps them in the user's settings. */
export async function chooseKubeconfig(): Promise<void> {
  const files = await vscode.window.showOpenDialog({
    title: vscode.l10n.t('Choose Kubeconfig'),
    openLabel: vscode.l10n.t('Use as Kubeconfig'),
    canSelectMany: true,
  });
  if (!files || files.length === 0) return;
  await vscode.workspace.getConfiguration(prefix).update(
    'kubeconfig',
    files.map((file) => file.fsPath),
    vscode.ConfigurationTarget.Global,
  );
}
