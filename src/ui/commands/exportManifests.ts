import * as vscode from 'vscode';
import { loadCore } from '../core.ts';
import { UserError } from '../runCommand.ts';
import type { SetupSession } from '../setupSession.ts';

/** Writes the objects of a plan as YAML files into a folder that the user chooses. Nothing is replaced unasked. */
export async function exportManifests(session: SetupSession): Promise<void> {
  const core = await loadCore();
  const { deps, target, intent } = session;
  const { objects } = deps.live;
  const release = core.findRelease(objects, target);
  if (!release) throw new UserError(vscode.l10n.t('There is no Milvus release {0} any more.', target.release));
  const facts = await core.gatherFacts(deps, objects, release, { intent });
  const files = core.wantedObjects(objects, { ...facts, intent }).map((object, index) => ({
    name: `${String(index + 1).padStart(2, '0')}-${object.kind.toLowerCase()}-${object.metadata.name}.yaml`,
    text: core.objectYaml(object),
  }));
  const [folder] =
    (await vscode.window.showOpenDialog({
      title: vscode.l10n.t('Export Manifests'),
      openLabel: vscode.l10n.t('Export Here'),
      canSelectFiles: false,
      canSelectFolders: true,
      canSelectMany: false,
      ...(vscode.workspace.workspaceFolders?.[0] ? { defaultUri: vscode.workspace.workspaceFolders[0].uri } : {}),
    })) ?? [];
  if (!folder) return;

  const existing = new Set((await vscode.workspace.fs.readDirectory(folder)).map(([name]) => name));
  const replaced = files.filter(({ name }) => existing.has(name));
  if (replaced.length > 0) {
    const replace = vscode.l10n.t('Replace');
    const answer = await vscode.window.showWarningMessage(
      vscode.l10n.t('{0} of the files are there already.', replaced.length),
      { modal: true, detail: replaced.map(({ name }) => name).join('\n') },
      replace,
    );
    if (answer !== replace) return;
  }
  for (const { name, text } of files)
    await vscode.workspace.fs.writeFile(vscode.Uri.joinPath(folder, name), new TextEncoder().encode(text));
  const open = vscode.l10n.t('Open');
  const chosen = await vscode.window.showInformationMessage(
    vscode.l10n.t(
      '{0} manifests written. The change of Milvus itself (Helm or the Operator) is not among them.',
      files.length,
    ),
    open,
  );
  const first = files[0];
  if (chosen === open && first) await vscode.window.showTextDocument(vscode.Uri.joinPath(folder, first.name));
}
