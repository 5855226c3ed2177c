import * as vscode from 'vscode';
import type { SetupDeps } from '../../core/loadbalancer/setup.ts';
import type { AddressChoice, CertificateChoice, Intent, MilvusRelease, Target } from '../../core/model.ts';
import type { GlobalAddress } from '../../core/ports.ts';
import { loadCore, type Core } from '../core.ts';
import type { Services } from '../services.ts';
import { messageOf, UserError } from '../runCommand.ts';
import { targetKey } from '../targets.ts';
import { chooseRelease } from './chooseRelease.ts';
import { askPick, askText, back, type PickRow, type StepPlace } from './quickSteps.ts';
import {
  addressChoices,
  answersOf,
  certificateChoices,
  certificateValue,
  checkObjectName,
  checkResourceName,
  cutOverChoices,
  hostProposals,
  intentOf,
  isAddress,
  parseAnswers,
  releaseSummary,
  type Answers,
  type HostProposal,
} from './setUpAnswers.ts';

const totalSteps = 5;

/** What the user wants, for which release. */
export interface SetUpRequest {
  target: Target;
  intent: Intent;
}

/**
 * Asks the five questions of the set-up. Everything the cluster can tell is filled in, and what was answered before is
 * chosen in advance.
 *
 * @throws vscode.CancellationError when a question was closed.
 */
export async function askSetUp(services: Services, argument: unknown): Promise<SetUpRequest> {
  let again = false;
  for (;;) {
    const { target, asked } = await chooseRelease(services, argument, { title: setUpTitle(), totalSteps }, again);
    const answers = await askAbout(services, target, asked || again || argument === undefined);
    if (answers !== back) return { target, intent: answers };
    again = true;
  }
}

function setUpTitle(): string {
  return vscode.l10n.t('Set Up Layer-7 LB');
}

/** What the questions are asked with. */
interface Context {
  core: Core;
  services: Services;
  deps: SetupDeps;
  release: MilvusRelease;
  target: Target;
  answers: Answers;
  addresses: Promise<readonly GlobalAddress[] | undefined>;
  place(name: string, step: number): StepPlace;
}

type Question = (context: Context) => Promise<'next' | 'again' | typeof back>;

async function askAbout(services: Services, target: Target, canGoBack: boolean): Promise<Intent | typeof back> {
  const core = await loadCore();
  const lease = await services.setupDeps(target.context, target.namespace);
  const abort = new AbortController();
  try {
    const deps = lease.value;
    const release = await readRelease(services, core, deps, target);
    const found = core.readIntent(deps.live.objects, release);
    if (found && !core.readProof(deps.live.objects, release, found.host)) {
      const resume = await askResume(target, found);
      if (resume) return found;
    }
    const key = `setUp.answers.${targetKey(target)}`;
    const context: Context = {
      core,
      services,
      deps,
      release,
      target,
      answers: found ? answersOf(found) : parseAnswers(services.memory.get(key)),
      addresses: deps.gcloud.addresses(abort.signal).catch((error: unknown) => {
        if (!abort.signal.aborted)
          void messageOf(error).then((message) => {
            services.log.warn(message);
          });
        return undefined;
      }),
      place: (name, step) => ({
        title: `${setUpTitle()}: ${name}`,
        step,
        totalSteps,
        canGoBack: step > 2 || canGoBack,
      }),
    };
    const questions: readonly Question[] = [askHost, askCertificate, askAddress, askCutOver];
    for (let at = 0; at < questions.length;) {
      const question = questions[at];
      const answer = question ? await question(context) : 'next';
      if (answer === back && at === 0) return back;
      at += answer === 'again' ? 0 : answer === back ? -1 : 1;
    }
    await services.memory.update(key, context.answers);
    const intent = intentOf(context.answers, services.settings.sslPolicy);
    if (!intent) throw new Error('A question was left out.');
    return intent;
  } finally {
    abort.abort();
    lease.dispose();
  }
}

async function readRelease(
  services: Services,
  core: Core,
  { live }: SetupDeps,
  target: Target,
): Promise<MilvusRelease> {
  await vscode.window.withProgress(
    { location: { viewId: 'milvusLayer7.clusters' }, title: vscode.l10n.t('Reading the cluster …') },
    () => live.ready,
  );
  const release = core.findRelease(live.objects, target);
  if (release) return release;
  const unreadable = live.objects.unreadable.get('Service') ?? live.objects.unreadable.get('Deployment');
  throw new UserError(
    unreadable?.message ??
      vscode.l10n.t('There is no Milvus release {0} in namespace {1}.', target.release, target.namespace),
    [{ title: vscode.l10n.t('Refresh'), command: 'milvusLayer7.refresh' }],
  );
}

/** True to go on with the earlier answers, false to change them first. */
async function askResume(target: Target, intent: Intent): Promise<boolean> {
  const answer = await askPick<'resume' | 'change'>({
    place: { title: `${setUpTitle()}: ${vscode.l10n.t('Resume')}`, step: 1, totalSteps, canGoBack: false },
    placeholder: vscode.l10n.t('A set-up of {0} was begun and is not finished', target.release),
    rows: [
      {
        label: vscode.l10n.t('Resume'),
        description: intent.host,
        detail: vscode.l10n.t('Plans again from what is there, with the same answers.'),
        value: 'resume',
      },
      {
        label: vscode.l10n.t('Change the Answers'),
        detail: vscode.l10n.t('Asks all questions again, with the same answers filled in.'),
        value: 'change',
      },
    ],
  });
  return answer === 'resume';
}

const askHost: Question = async (context) => {
  const { core, answers, release, deps, target } = context;
  const place = context.place(vscode.l10n.t('Host Name'), 2);
  const { objects } = deps.live;
  const proposals = hostProposals(
    objects.list('Ingress', target.namespace),
    objects.list('ManagedCertificate', target.namespace),
    release.service.metadata.name,
  );
  const value = answers.host ?? proposals[0]?.host ?? '';
  const check = (host: string): string | undefined =>
    host === '' ? vscode.l10n.t('A host name is needed.') : core.checkHostName(host, 'self');
  // The certificate is chosen next, so what only one kind refuses does not forbid the name yet.
  const advise = (host: string): string | undefined => {
    const reason = core.checkHostName(host, 'managed');
    return reason === undefined ? undefined : vscode.l10n.t('Not with a Google-managed certificate: {0}', reason);
  };
  const chosen = proposals.length > 0 ? await askProposal(place, proposals, value, release) : 'write';
  if (chosen === back) return back;
  const host =
    chosen === 'write'
      ? await askText({
          place: { ...place, canGoBack: place.canGoBack || proposals.length > 0 },
          prompt: `${release.name} · ${releaseSummary(release)}`,
          placeholder: vscode.l10n.t('The name clients will use, such as milvus.example.com'),
          value,
          check,
          advise,
        })
      : chosen;
  if (host === back) return proposals.length > 0 ? 'again' : back;
  context.answers = { ...context.answers, host };
  return 'next';
};

async function askProposal(
  place: StepPlace,
  proposals: readonly HostProposal[],
  value: string,
  release: MilvusRelease,
): Promise<string | typeof back> {
  return askPick<string>({
    place,
    placeholder: `${release.name} · ${releaseSummary(release)}`,
    rows: [
      ...proposals.map(({ host, from }) => ({ label: host, description: from, value: host, active: host === value })),
      {
        label: vscode.l10n.t('Another Host Name …'),
        detail: vscode.l10n.t('The name clients will use'),
        value: 'write',
        active: !proposals.some(({ host }) => host === value),
      },
    ],
  });
}

const askCertificate: Question = async (context) => {
  const { core, answers } = context;
  const host = answers.host ?? '';
  const place = context.place(vscode.l10n.t('Certificate'), 3);
  const choices = certificateChoices(host, core.checkHostName);
  const before = certificateValue(answers.certificate);
  const answer = await askPick({
    place,
    placeholder: vscode.l10n.t('The certificate for {0}', host),
    rows: choices.map(({ value, label, description, detail }) => ({
      label,
      description,
      detail,
      value,
      active: value === before,
    })),
    refuse: (value) => choices.find((choice) => choice.value === value)?.blocked,
  });
  if (answer === back) return back;
  const certificate = await certificateOf(answer, context);
  if (certificate === back) return askCertificate(context);
  context.answers = { ...answers, certificate };
  return 'next';
};

async function certificateOf(
  answer: 'generate-rsa' | 'generate-ecdsa' | 'secret' | 'managed',
  context: Context,
): Promise<CertificateChoice | typeof back> {
  switch (answer) {
    case 'managed':
      return { kind: 'managed' };
    case 'generate-rsa':
      return { kind: 'generate', keyType: 'rsa-2048' };
    case 'generate-ecdsa':
      return { kind: 'generate', keyType: 'ecdsa-p256' };
    case 'secret': {
      const name = await askSecret(context);
      return name === back ? back : { kind: 'secret', name };
    }
  }
}

async function askSecret(context: Context): Promise<string | typeof back> {
  const { certificate } = context.answers;
  const before = certificate?.kind === 'secret' ? certificate.name : undefined;
  const place = { ...context.place(vscode.l10n.t('Secret'), 3), canGoBack: true };
  const write = Symbol('write');
  const answer = await askPick<string | typeof write>({
    place,
    placeholder: vscode.l10n.t('Secrets of type kubernetes.io/tls in namespace {0}', context.target.namespace),
    rows: secretNames(context).then((names) => [
      ...(typeof names === 'string'
        ? []
        : names.map((name) => ({ label: name, value: name, active: name === before }))),
      {
        label: vscode.l10n.t('Another Secret …'),
        detail: typeof names === 'string' ? names : vscode.l10n.t('By its name, also when it does not exist yet'),
        value: write,
      },
    ]),
  });
  if (answer === back || typeof answer === 'string') return answer;
  return askText({
    place: { ...place, title: `${setUpTitle()}: ${vscode.l10n.t('Name of the Secret')}` },
    prompt: vscode.l10n.t('A Secret of type kubernetes.io/tls in namespace {0}', context.target.namespace),
    placeholder: 'milvus-tls',
    value: before ?? '',
    check: checkObjectName,
  });
}

/** Names only: what the Secrets hold is not kept. A text says why they cannot be listed. */
async function secretNames({ deps, target }: Context): Promise<string[] | string> {
  try {
    const secrets = await deps.cluster.list(
      { apiVersion: 'v1', kind: 'Secret' },
      { namespace: target.namespace, fieldSelector: 'type=kubernetes.io/tls' },
    );
    return secrets.map((secret) => secret.metadata.name).sort();
  } catch (error) {
    return messageOf(error);
  }
}

const askAddress: Question = async (context) => {
  const { answers, addresses } = context;
  const place = context.place(vscode.l10n.t('Address'), 4);
  const answer = await askPick({
    place,
    placeholder: vscode.l10n.t('The address that DNS will point to'),
    rows: addresses.then((known): PickRow<AddressChoice | 'name' | 'reserve'>[] => {
      const choices = addressChoices(known);
      return choices.map(({ value, label, description, detail }) => ({
        label,
        description,
        detail,
        value,
        active: isAddress(value, answers.address),
      }));
    }),
  });
  if (answer === back) return back;
  const address = typeof answer === 'string' ? await askAddressName(context, answer) : answer;
  if (address === back) return askAddress(context);
  context.answers = { ...answers, address };
  return 'next';
};

async function askAddressName(context: Context, kind: 'name' | 'reserve'): Promise<AddressChoice | typeof back> {
  const { address } = context.answers;
  const known = await context.addresses;
  const name = await askText({
    place: { ...context.place(vscode.l10n.t('Name of the Address'), 4), canGoBack: true },
    prompt:
      kind === 'reserve'
        ? vscode.l10n.t('A global static address of this name is reserved in the project of the cluster')
        : vscode.l10n.t('The name of a global static address in the project of the cluster'),
    placeholder: 'milvus-ip',
    value: address && address.kind !== 'ephemeral' ? address.name : addressName(context.target.release),
    check: (value) =>
      checkResourceName(value) ??
      (kind === 'reserve' && known?.some((other) => other.name === value) === true
        ? vscode.l10n.t('There is an address of this name already; go back to choose it.')
        : undefined),
  });
  if (name === back) return back;
  return kind === 'reserve' ? { kind: 'reserve', name } : { kind: 'static', name };
}

function addressName(release: string): string {
  const name = `${release
    .toLowerCase()
    .replace(/[^-a-z0-9]/g, '-')
    .slice(0, 60)}-ip`;
  return checkResourceName(name) === undefined ? name : 'milvus-ip';
}

const askCutOver: Question = async (context) => {
  const { answers, release } = context;
  const answer = await askPick({
    place: context.place(vscode.l10n.t('Cut-Over'), 5),
    placeholder: vscode.l10n.t('How Milvus begins to speak TLS; clients need TLS from then on, on Layer 4 too'),
    rows: cutOverChoices(release, answers.closeLayer4).map(({ value, label, description, detail }) => ({
      label,
      description,
      detail,
      value,
      active: value.restart === answers.restart && value.closeLayer4 === answers.closeLayer4,
    })),
  });
  if (answer === back) return back;
  context.answers = { ...answers, ...answer };
  return 'next';
};
