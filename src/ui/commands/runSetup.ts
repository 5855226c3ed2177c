import * as vscode from 'vscode';
import type { SetupResult } from '../../core/loadbalancer/setup.ts';
import { withoutLinks } from '../plainText.ts';
import type { Services } from '../services.ts';
import type { SetupSession } from '../setupSession.ts';

/**
 * Applies the plan of a session after one modal question that names where it will write, and follows it to its end.
 * A conflict with another field manager is asked about once more.
 *
 * @param seen whether the panel is before the user's eyes, so that its end needs no message.
 */
export async function applySetup(services: Services, session: SetupSession, seen: () => boolean): Promise<void> {
  if (session.running) return;
  if (!(await confirm(session))) return;
  const force = new Set<string>();
  for (;;) {
    const result = await session.run(force);
    if (result?.outcome !== 'conflict') {
      if (result) void tell(services, session, result, seen());
      return;
    }
    const takeOver = vscode.l10n.t('Take Over');
    const answer = await vscode.window.showWarningMessage(
      vscode.l10n.t('{0}: {1} owns fields that this step sets.', result.step.title, result.managers.join(', ')),
      {
        modal: true,
        detail: vscode.l10n.t(
          '{0}\n\nTaken over, they are ours from then on; the other may set them back.',
          result.message,
        ),
      },
      takeOver,
    );
    if (answer !== takeOver) return;
    force.add(result.step.id);
  }
}

async function confirm(session: SetupSession): Promise<boolean> {
  const { target, intent, progress, server } = session;
  const apply = vscode.l10n.t('Apply');
  const interrupting = progress.plan.steps.filter(
    ({ action }) => action.kind === 'helmUpgrade' || action.kind === 'patchMilvus',
  );
  const answer = await vscode.window.showWarningMessage(
    vscode.l10n.t('Bring {0} behind Layer 7 at {1}?', target.release, intent.host),
    {
      modal: true,
      detail: [
        vscode.l10n.t('Context: {0}', target.context),
        vscode.l10n.t('API server: {0}', server),
        vscode.l10n.t('Namespace: {0}', target.namespace),
        vscode.l10n.t('Release: {0}', target.release),
        vscode.l10n.t('Steps: {0}', progress.plan.steps.length),
        ...interrupting.map((step) => `${step.title}: ${step.interrupts}`),
      ].join('\n'),
    },
    apply,
  );
  return answer === apply;
}

/** Says how a setup ended: in the log, and in one message when nobody sees the panel. */
async function tell(services: Services, session: SetupSession, result: SetupResult, seen: boolean): Promise<void> {
  const { target, intent } = session;
  const open = vscode.l10n.t('Open Status');
  const chosen = await (async () => {
    switch (result.outcome) {
      case 'proven':
        services.log.info(vscode.l10n.t('{0} is proven behind Layer 7 at {1}.', target.release, intent.host));
        if (seen) return undefined;
        return vscode.window.showInformationMessage(
          withoutLinks(vscode.l10n.t('{0} is proven behind Layer 7 at {1}.', target.release, intent.host)),
          open,
        );
      case 'failed': {
        const where = result.step ? `${result.step.title}: ` : '';
        services.log.error(`${target.release}: ${where}${result.message}`);
        if (seen) return undefined;
        return vscode.window.showErrorMessage(withoutLinks(`${where}${result.message}`), open);
      }
      default:
        return undefined;
    }
  })();
  if (chosen === open) await vscode.commands.executeCommand('milvusLayer7.openStatus', target);
}
