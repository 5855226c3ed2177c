import * as vscode from 'vscode';
import type { MilvusRelease, Target } from '../../core/model.ts';
import type { FoundReleases, Services } from '../services.ts';
import { UserError } from '../runCommand.ts';
import { parseTarget } from '../targets.ts';
import { askPick, back, type PickRow, type StepPlace } from './quickSteps.ts';
import { releaseSummary } from './setUpAnswers.ts';

/** A release that was chosen, and whether there was anything to choose. */
export interface ChosenRelease {
  target: Target;
  asked: boolean;
}

/**
 * The release a command is about: the one it was called with, else the only one of the current context, else the one
 * that the user chooses.
 *
 * @param again ask even when there is only one: the user came back to this question.
 */
export async function chooseRelease(
  services: Services,
  argument: unknown,
  place: Pick<StepPlace, 'title' | 'totalSteps'>,
  again = false,
): Promise<ChosenRelease> {
  const given = parseTarget(argument);
  if (given && !again) return { target: given, asked: false };
  let context = given?.context ?? (await services.currentContext());
  for (;;) {
    const chosen = await chooseIn(services, context, place, again);
    if (chosen !== 'other') return chosen;
    context = await chooseContext(services, place, context);
    again = true;
  }
}

async function chooseIn(
  services: Services,
  context: string,
  { title, totalSteps }: Pick<StepPlace, 'title' | 'totalSteps'>,
  again: boolean,
): Promise<ChosenRelease | 'other'> {
  const abort = new AbortController();
  const { contexts } = await services.kubeconfig();
  let asked = true;
  const read = async (): Promise<PickRow<Target | 'other'>[] | { only: Target }> => {
    const found = await services.findReleases(context, abort.signal);
    const [first, second] = found.releases;
    if (!first) throw noMilvus(context, found);
    if (!second && !again) {
      asked = false;
      return { only: targetOf(context, first) };
    }
    return [
      ...found.releases.map((release) => ({
        label: release.name,
        description: releaseSummary(release),
        value: targetOf(context, release),
      })),
      ...(contexts.length > 1
        ? [
            { label: '' },
            {
              label: vscode.l10n.t('Another Context …'),
              description: vscode.l10n.t('not {0}', context),
              value: 'other' as const,
            },
          ]
        : []),
    ];
  };
  try {
    const answer = await askPick<Target | 'other'>({
      place: { title: `${title}: ${vscode.l10n.t('Release')}`, step: 1, totalSteps, canGoBack: false },
      placeholder: vscode.l10n.t('Milvus releases of context {0}', context),
      rows: read(),
    });
    if (answer === back || answer === 'other') return 'other';
    return { target: answer, asked };
  } finally {
    abort.abort();
  }
}

async function chooseContext(
  services: Services,
  { title, totalSteps }: Pick<StepPlace, 'title' | 'totalSteps'>,
  context: string,
): Promise<string> {
  const { contexts, current } = await services.kubeconfig();
  const answer = await askPick({
    place: { title: `${title}: ${vscode.l10n.t('Context')}`, step: 1, totalSteps, canGoBack: false },
    placeholder: vscode.l10n.t('Contexts of the kubeconfig'),
    rows: contexts.map(({ name, server }) => ({
      label: name,
      description: name === current ? vscode.l10n.t('current') : '',
      detail: server,
      value: name,
      active: name === context,
    })),
  });
  if (answer === back) throw new vscode.CancellationError();
  return answer;
}

function targetOf(context: string, release: MilvusRelease): Target {
  return { context, namespace: release.namespace, release: release.name };
}

function noMilvus(context: string, { onlyNamespace }: FoundReleases): UserError {
  const message =
    onlyNamespace === undefined
      ? vscode.l10n.t('No Milvus was found in context {0}.', context)
      : vscode.l10n.t(
          'No Milvus was found in namespace {0} of context {1}; you may not list other namespaces.',
          onlyNamespace,
          context,
        );
  return new UserError(message, [{ title: vscode.l10n.t('Show Clusters'), command: 'milvusLayer7.clusters.focus' }]);
}
