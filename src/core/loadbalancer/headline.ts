import * as l10n from '@vscode/l10n';
import type { Stage, StageId, Status } from '../model.ts';

/** One sentence on where things stand, and what happens next. All text is localised. */
export interface Headline {
  text: string;
  detail: string;
  tone: 'ok' | 'waiting' | 'blocked' | 'neutral';
}

/** What every surface says first about a release. */
export function headline(status: Status): Headline {
  const { exposure, stages, findings, layer4 } = status;
  if (stages.length === 0)
    return {
      tone: 'neutral',
      text: l10n.t('Not set up:'),
      detail:
        exposure === 'layer4'
          ? l10n.t('clients reach Milvus through Layer 4 at {0}, without TLS of a load balancer.', layer4 ?? '')
          : l10n.t('Milvus is reached only inside the cluster.'),
    };
  const blocking = findings.find((finding) => finding.severity === 'error');
  if (blocking)
    return { tone: 'blocked', text: l10n.t('Blocked:'), detail: `${blocking.message} ${blocking.fix.text}` };
  const failed = stages.find((stage) => stage.state === 'failed');
  if (failed) return { tone: 'blocked', text: l10n.t('Blocked:'), detail: `${failed.title}: ${failed.evidence}` };
  const by = (id: StageId): Stage | undefined => stages.find((stage) => stage.id === id);
  const waiting = stages.find((stage) => stage.state === 'late') ?? stages.find((stage) => stage.state === 'running');
  if (waiting)
    return {
      tone: 'waiting',
      text: waitingFor(waiting),
      detail: sentence(waiting.waitsFor ?? waiting.evidence),
    };
  const built = (['healthCheck', 'networkEndpointGroup', 'address', 'certificate', 'backends'] as const).every(
    (id) => by(id)?.state === 'done',
  );
  if (built && by('milvusTls')?.state === 'pending')
    return {
      tone: 'waiting',
      text: l10n.t('Ready for the cut-over:'),
      detail: l10n.t('the load balancer is built; until Milvus speaks TLS it answers 502. Layer 4 is undisturbed.'),
    };
  if (built && by('milvusTls')?.state === 'done') {
    const connection = by('connection');
    return connection?.state === 'done'
      ? {
          tone: 'ok',
          text: l10n.t('Works:'),
          detail: sentence(
            [by('backends'), by('certificate'), connection]
              .flatMap((stage) => stage?.brief ?? stage?.evidence ?? [])
              .join(', '),
          ),
        }
      : { tone: 'neutral', text: l10n.t('Built, not tested yet:'), detail: l10n.t('run Test Connection to prove it.') };
  }
  const next = stages.find((stage) => stage.state === 'pending');
  return {
    tone: 'neutral',
    text: l10n.t('Not finished:'),
    detail: next ? sentence(`${next.title}: ${next.evidence}`) : '',
  };
}

function waitingFor(stage: Stage): string {
  switch (stage.id) {
    case 'certificate':
      return l10n.t('Waiting for the certificate:');
    case 'dns':
      return l10n.t('Waiting for DNS:');
    case 'address':
      return l10n.t('Waiting for Google to give an address:');
    case 'networkEndpointGroup':
      return l10n.t('Waiting for the network endpoint group:');
    case 'backends':
      return l10n.t('Waiting for healthy backends:');
    case 'milvusTls':
      return l10n.t('Waiting for Milvus to restart with TLS:');
    default:
      return l10n.t('Waiting for {0}:', stage.title);
  }
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
