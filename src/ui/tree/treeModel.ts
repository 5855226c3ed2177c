import * as l10n from '@vscode/l10n';
import type { MilvusRelease, Stage, Status, Target } from '../../core/model.ts';
import type { Tone } from '../../shared/protocol.ts';
import { modeText, objectText, stageStateText, type Headline } from '../panel/panelState.ts';
import { targetKey } from '../targets.ts';

/** What a node of the tree looks like, without VS Code. All text is plain. */
export interface NodeModel {
  /** Stable over refreshes. */
  id: string;
  label: string;
  description: string;
  tooltip: string;
  icon: { name: string; color?: string };
  /** Decides which commands are offered. */
  contextValue: string;
  expandable: boolean;
  /** What a screen reader says: label, state in words, description. */
  spoken: string;
}

/** How far a context of the kubeconfig is known. */
export interface ContextView {
  name: string;
  current: boolean;
  server: string;
  /** Localised: why it cannot be used or read. */
  problem?: string;
}

/** A kubeconfig context. Nothing of it was contacted for this. */
export function contextNode({ name, current, server, problem }: ContextView): NodeModel {
  const state = problem === undefined ? '' : firstSentence(problem);
  const description = [current ? l10n.t('current') : '', state].filter((part) => part !== '').join(' · ');
  return {
    id: `context/${name}`,
    label: name,
    description,
    tooltip: [name, server, problem ?? ''].filter((line) => line !== '').join('\n'),
    icon:
      problem === undefined
        ? { name: 'server-environment', ...(current ? { color: 'charts.blue' } : {}) }
        : { name: 'warning', color: 'list.warningForeground' },
    contextValue: problem === undefined ? 'context' : 'context.retry',
    expandable: true,
    spoken: [l10n.t('Context {0}', name), description].filter((part) => part !== '').join(', '),
  };
}

/** A Milvus release with its headline. */
export function releaseNode(
  target: Target,
  release: MilvusRelease,
  known: { status?: Status; headline?: Headline; problem?: string },
): NodeModel {
  const { status, headline, problem } = known;
  const facts = [release.namespace, modeText(release.mode), release.version ?? ''].filter((part) => part !== '');
  const layer7 = status?.exposure === 'layer7' || status?.exposure === 'both';
  const sentence =
    problem ?? (headline ? `${headline.text} ${headline.detail}`.trim() : l10n.t('Reading the cluster …'));
  return {
    id: `release/${targetKey(target)}`,
    label: release.name,
    description: `${facts.join(' · ')} — ${sentence}`,
    tooltip: [`${release.name} · ${facts.join(' · ')}`, sentence].join('\n'),
    icon: problem === undefined ? toneIcon(headline?.tone) : { name: 'warning', color: 'list.warningForeground' },
    contextValue: layer7 ? 'release.layer7' : 'release.layer4',
    expandable: (status?.stages.length ?? 0) > 0,
    spoken: [l10n.t('Milvus release {0}', release.name), toneText(headline?.tone), ...facts, sentence]
      .filter((part) => part !== '')
      .join(', '),
  };
}

/** One stage of a release's load balancer. */
export function stageNode(target: Target, stage: Stage): NodeModel {
  const waits = stage.waitsFor === undefined ? '' : ` · ${stage.waitsFor}`;
  const state = stageStateText(stage.state);
  return {
    id: `stage/${targetKey(target)}/${stage.id}`,
    label: stage.title,
    description: `${stage.evidence}${waits}`,
    tooltip: [
      `${stage.title}: ${state}`,
      `${stage.evidence}${waits}`,
      stage.object ? objectText(stage.object) : '',
      stage.since === undefined ? '' : l10n.t('since {0}', new Date(stage.since).toLocaleString()),
    ]
      .filter((line) => line !== '')
      .join('\n'),
    icon: stageIcon(stage.state),
    contextValue: 'stage',
    expandable: false,
    spoken: `${stage.title}: ${state}, ${stage.evidence}${waits}`,
  };
}

/** A sentence in place of what cannot be shown, with one action at most. */
export function messageNode(id: string, text: string, kind: 'info' | 'problem', retry: boolean): NodeModel {
  return {
    id: `message/${id}`,
    label: text,
    description: '',
    tooltip: text,
    icon: kind === 'problem' ? { name: 'warning', color: 'list.warningForeground' } : { name: 'info' },
    contextValue: retry ? 'message.retry' : 'message',
    expandable: false,
    spoken: text,
  };
}

function toneIcon(tone: Tone | undefined): NodeModel['icon'] {
  switch (tone) {
    case 'ok':
      return { name: 'pass', color: 'testing.iconPassed' };
    case 'waiting':
      return { name: 'sync', color: 'charts.blue' };
    case 'blocked':
      return { name: 'error', color: 'testing.iconFailed' };
    case 'neutral':
      return { name: 'circle-outline' };
    case undefined:
      return { name: 'loading~spin' };
  }
}

function toneText(tone: Tone | undefined): string {
  switch (tone) {
    case 'ok':
      return l10n.t('works');
    case 'waiting':
      return l10n.t('waiting');
    case 'blocked':
      return l10n.t('blocked');
    case 'neutral':
    case undefined:
      return '';
  }
}

function stageIcon(state: Stage['state']): NodeModel['icon'] {
  switch (state) {
    case 'done':
      return { name: 'pass', color: 'testing.iconPassed' };
    case 'running':
      return { name: 'sync', color: 'charts.blue' };
    case 'late':
      return { name: 'warning', color: 'list.warningForeground' };
    case 'failed':
      return { name: 'error', color: 'testing.iconFailed' };
    case 'pending':
      return { name: 'circle-outline' };
    case 'none':
      return { name: 'dash' };
  }
}

/** For the line in the tree; the whole text is in the tooltip. */
export function firstSentence(text: string): string {
  const end = /[.!?](?=\s|$)/.exec(text);
  return end ? text.slice(0, end.index) : text;
}
