import { parseToPage, type FromPage, type PanelState } from '../src/shared/protocol.ts';
import { button, dataGrid, divider, gridRow, link, progressRing, setEnabled } from './components.ts';
import { keyed, make, setAttribute, setText, show } from './keyed.ts';

interface VsCodeApi {
  postMessage(message: unknown): void;
  setState(state: unknown): void;
}
declare function acquireVsCodeApi(): VsCodeApi;

// Kept in this module: no other script of the page can send messages in its name.
const vscode = acquireVsCodeApi();
const send = (message: FromPage): void => {
  vscode.postMessage(message);
};

const main = document.querySelector('main') ?? document.body.appendChild(make('main'));

// What VS Code gives back to the serializer after a restart.
vscode.setState(JSON.parse(main.dataset.target ?? '{}'));

const marks: Record<string, string> = {
  done: '✓',
  passed: '✓',
  running: '◌',
  late: '◌',
  failed: '✗',
  pending: '○',
  planned: '○',
  skipped: '',
  none: '–',
};
const severityMarks = { error: '✗', warning: '⚠', info: 'ℹ' } as const;

/** A section with a small heading; `note` is the text beside the heading. */
function section(): { element: HTMLElement; title: HTMLElement; note: HTMLElement; heading: HTMLElement } {
  const element = make('section');
  const heading = make('h2');
  const title = make('span');
  const note = make('span', 'note');
  heading.append(title, note);
  element.append(heading);
  return { element, title, note, heading };
}

/** A mark that only eyes read, and the word that everybody else gets. */
function mark(): { element: HTMLElement; set: (state: string, word: string) => void } {
  const element = make('span', 'mark');
  const sign = make('span');
  sign.setAttribute('aria-hidden', 'true');
  const word = make('span', 'visually-hidden');
  element.append(sign, word);
  return {
    element,
    set(state, text) {
      setText(sign, marks[state] ?? '');
      setText(word, text);
      setAttribute(element, 'data-state', state);
    },
  };
}

// Header
const header = make('header');
const title = make('h1');
const where = make('p', 'where');
const bar = make('div', 'bar');
const refresh = button('secondary', () => {
  send({ type: 'refresh' });
});
const test = button('primary', () => {
  send({ type: 'testConnection' });
});
bar.append(refresh, test);
header.append(title, where, bar);

const headline = make('p', 'headline');
const headlineText = make('strong');
const headlineDetail = make('span');
headline.append(headlineText, ' ', headlineDetail);
const notice = make('p', 'notice');

// Plan
const plan = section();
const planRing = progressRing('');
plan.heading.append(planRing);
const preflight = make('div');
const preflightViews = new Map<string, FindingView>();
const planSteps = make('ol', 'steps');
const stepViews = new Map<string, StepView>();
const planActions = make('div', 'actions plan-actions');
let planAction: 'apply' | 'cancel' | 'setUp' = 'apply';
const act = button('primary', () => {
  send({ type: planAction });
});
const exportManifests = button('secondary', () => {
  send({ type: 'exportManifests' });
});
const planReason = make('span', 'reason');
planReason.id = 'plan-reason';
planActions.append(act, exportManifests, planReason);
plan.element.append(preflight, planSteps, planActions);

// Roll-out
const rollout = section();
const grid = dataGrid('28px minmax(150px, 220px) 92px 1fr');
const stageViews = new Map<string, StageView>();
const head = gridRow(4, true);
const stateHead = make('span', 'visually-hidden');
head.cells[0]?.append(stateHead);
grid.append(head.row);
rollout.element.append(grid);

// Findings
const findings = section();
const findingList = make('div');
const findingViews = new Map<string, FindingView>();
findings.element.append(findingList);

// Connection
const connection = section();
const connectionRing = progressRing('');
connection.heading.append(connectionRing);
const probeStages = make('ol', 'stages');
const probeViews = new Map<string, ProbeStageView>();
const failure = make('div', 'card');
const failureTitle = make('h3');
const failureMark = make('span', 'bad', '✗ ');
failureMark.setAttribute('aria-hidden', 'true');
const failureName = make('span');
failureTitle.append(failureMark, failureName);
const failureFacts = make('dl');
const [expectedTerm, expected] = [make('dt'), make('dd')];
const [actualTerm, actual] = [make('dt'), make('dd')];
const [causeTerm, cause] = [make('dt'), make('dd')];
const [fixTerm, fix] = [make('dt'), make('dd')];
const fixCode = make('code');
failureFacts.append(expectedTerm, expected, actualTerm, actual, causeTerm, cause, fixTerm, fix);
const failureActions = make('div', 'actions');
const failureCopy = button('secondary', () => {
  send({ type: 'copy', what: 'fix', id: 'connection-test' });
});
failureActions.append(failureCopy);
failure.append(failureTitle, failureFacts, fixCode, failureActions);
connection.element.append(probeStages, failure);

// Snippets
const snippets = section();
const tabs = make('div', 'tabs');
const tabList = make('div', 'tab-list');
tabList.setAttribute('role', 'tablist');
const tabViews = new Map<string, { element: HTMLElement }>();
const copySnippet = button('secondary', () => {
  if (shownSnippet !== undefined) send({ type: 'copy', what: 'snippet', id: shownSnippet });
});
tabs.append(tabList, copySnippet);
const code = make('pre');
code.id = 'snippet';
code.tabIndex = 0;
code.setAttribute('role', 'tabpanel');
snippets.element.append(tabs, code);
let shownSnippet: string | undefined;

// Log
const log = make('details', 'log');
const logTitle = make('summary');
const logLines = make('pre');
logLines.tabIndex = 0;
log.append(logTitle, logLines);

const live = make('div', 'visually-hidden');
live.setAttribute('aria-live', 'polite');
live.setAttribute('role', 'status');

const rule = divider();
main.append(
  header,
  headline,
  notice,
  plan.element,
  rollout.element,
  findings.element,
  connection.element,
  snippets.element,
  rule,
  log,
  live,
);
main.hidden = true;

interface StageView {
  element: HTMLElement;
  mark: ReturnType<typeof mark>;
  title: HTMLElement;
  since: HTMLElement;
  evidence: HTMLElement;
  waitsFor: HTMLElement;
}

function stageView(): StageView {
  const { row, cells } = gridRow(4);
  const [markCell, titleCell, since, evidenceCell] = cells as [HTMLElement, HTMLElement, HTMLElement, HTMLElement];
  const stageMark = mark();
  markCell.append(stageMark.element);
  since.classList.add('since');
  evidenceCell.classList.add('evidence');
  const evidence = make('span');
  const waitsFor = make('span', 'waits');
  evidenceCell.append(evidence, waitsFor);
  return { element: row, mark: stageMark, title: titleCell, since, evidence, waitsFor };
}

interface StepView {
  element: HTMLElement;
  mark: ReturnType<typeof mark>;
  title: HTMLElement;
  facts: HTMLElement;
  changes: [HTMLElement, HTMLElement];
  interrupts: [HTMLElement, HTMLElement];
  undo: [HTMLElement, HTMLElement];
  error: HTMLElement;
  diff: HTMLElement;
}

function stepView(id: string): StepView {
  const element = make('li', 'step');
  const stepMark = mark();
  const name = make('h3');
  const facts = make('dl');
  const pair = (): [HTMLElement, HTMLElement] => [make('dt'), make('dd')];
  const view: StepView = {
    element,
    mark: stepMark,
    title: name,
    facts,
    changes: pair(),
    interrupts: pair(),
    undo: pair(),
    error: make('p', 'bad'),
    diff: button('secondary', () => {
      send({ type: 'showDiff', step: id });
    }),
  };
  facts.append(...view.changes, ...view.interrupts, ...view.undo);
  const body = make('div', 'body');
  body.append(name, facts, view.error);
  element.append(stepMark.element, body, view.diff);
  return view;
}

interface FindingView {
  element: HTMLElement;
  sign: HTMLElement;
  severity: HTMLElement;
  message: HTMLElement;
  cause: HTMLElement;
  fix: HTMLElement;
  code: HTMLElement;
  object: HTMLElement;
  copy: HTMLElement;
  actions: HTMLElement;
  docs: HTMLElement | undefined;
}

function findingView(id: string): FindingView {
  const element = make('article', 'card');
  const name = make('h3');
  const severityBox = make('span');
  const sign = make('span');
  sign.setAttribute('aria-hidden', 'true');
  const severity = make('span');
  severityBox.append(sign, ' ', severity);
  const message = make('span');
  name.append(severityBox, ' ', message);
  const view: FindingView = {
    element,
    sign: severityBox,
    severity,
    message,
    cause: make('p'),
    fix: make('p'),
    code: make('code'),
    object: make('p', 'object'),
    copy: button('secondary', () => {
      send({ type: 'copy', what: 'fix', id });
    }),
    actions: make('div', 'actions'),
    docs: undefined,
  };
  view.actions.append(view.copy);
  element.append(name, view.cause, view.fix, view.code, view.object, view.actions);
  return view;
}

interface ProbeStageView {
  element: HTMLElement;
  mark: ReturnType<typeof mark>;
  title: HTMLElement;
  detail: HTMLElement;
}

function probeStageView(): ProbeStageView {
  const element = make('li');
  const name = make('strong');
  const stageMark = mark();
  const text = make('span');
  name.append(stageMark.element, text);
  const detail = make('span', 'detail');
  element.append(name, detail);
  return { element, mark: stageMark, title: text, detail };
}

function render(state: PanelState): void {
  const { labels } = state;
  setText(title, state.title);
  setText(where, state.where);
  setText(refresh, labels.refresh);
  setText(headlineText, state.headline.text);
  setText(headlineDetail, state.headline.detail);
  setAttribute(headline, 'data-tone', state.headline.tone);
  show(notice, state.notice !== '');
  setText(notice, state.notice);

  renderPlan(state);
  renderRollout(state);

  show(findings.element, state.findings.rows.length > 0);
  setText(findings.title, state.findings.title);
  setText(findings.note, String(state.findings.rows.length));
  renderFindings(findingList, findingViews, state.findings.rows, state);

  renderConnection(state);
  renderSnippets(state);

  const lines = state.log?.lines ?? [];
  show(log, lines.length > 0);
  show(rule, lines.length > 0);
  setText(logTitle, state.log?.title ?? '');
  const atEnd = logLines.scrollTop + logLines.clientHeight >= logLines.scrollHeight - 4;
  setText(logLines, lines.join('\n'));
  setAttribute(logLines, 'aria-label', state.log?.title);
  if (atEnd) logLines.scrollTop = logLines.scrollHeight;
  show(main, true);
}

/** A term and what is said of it; nothing where nothing is said. */
function setFact([term, description]: [HTMLElement, HTMLElement], name: string, text: string): void {
  setText(term, name);
  setText(description, text);
  show(term, text !== '');
  show(description, text !== '');
}

function renderPlan({ plan: view, labels }: PanelState): void {
  show(plan.element, view !== undefined);
  // One primary button at a time: what the plan asks for goes first.
  setAttribute(test, 'appearance', view?.action ? 'secondary' : 'primary');
  if (!view) return;
  setText(plan.title, view.title);
  setText(plan.note, view.summary);
  show(planRing, view.running);
  setAttribute(planRing, 'aria-label', labels.working);
  renderFindings(preflight, preflightViews, view.preflight, { labels });
  show(planSteps, view.steps.length > 0);
  keyed(
    planSteps,
    stepViews,
    view.steps,
    (step) => stepView(step.id),
    (row, step) => {
      row.mark.set(step.state, step.stateText);
      setAttribute(row.element, 'data-state', step.state);
      setText(row.title, `${step.number}. ${step.title}`);
      setFact(row.changes, labels.changes, step.changes);
      setFact(row.interrupts, labels.interrupts, step.interrupts);
      setFact(row.undo, labels.undo, step.undo);
      show(row.error, step.error !== undefined);
      setText(row.error, step.error ?? '');
      show(row.diff, step.diff);
      setText(row.diff, labels.showDiff);
      setAttribute(row.diff, 'aria-label', `${labels.showDiff}: ${step.title}`);
    },
  );
  show(act, view.action !== undefined);
  if (view.action) {
    planAction = view.action.kind;
    setText(act, view.action.label);
    setAttribute(act, 'appearance', view.action.kind === 'cancel' ? 'secondary' : 'primary');
    setEnabled(act, view.action.enabled);
    setAttribute(act, 'aria-describedby', view.action.reason === '' ? undefined : planReason.id);
  }
  setText(planReason, view.action?.reason ?? '');
  show(exportManifests, view.exportable);
  setText(exportManifests, labels.exportManifests);
}

function renderRollout({ rollout: view, labels }: PanelState): void {
  show(rollout.element, view !== undefined);
  if (!view) return;
  setText(rollout.title, view.title);
  setText(rollout.note, view.summary);
  setAttribute(grid, 'aria-label', view.title);
  const [, stageHead, sinceHead, evidenceHead] = head.cells as [HTMLElement, HTMLElement, HTMLElement, HTMLElement];
  setText(stateHead, labels.state);
  setText(stageHead, labels.stage);
  setText(sinceHead, labels.since);
  setText(evidenceHead, labels.evidence);
  keyed(
    grid,
    stageViews,
    view.stages,
    stageView,
    (row, stage) => {
      row.mark.set(stage.state, stage.stateText);
      setAttribute(row.element, 'data-state', stage.state);
      setAttribute(row.since, 'title', stage.sinceExact);
      setText(row.title, stage.title);
      setText(row.since, stage.since);
      setText(row.evidence, stage.evidence);
      setText(row.waitsFor, stage.waitsFor === '' ? '' : ` · ${stage.waitsFor}`);
    },
    head.row,
  );
}

function renderFindings(
  list: Element,
  views: Map<string, FindingView>,
  rows: PanelState['findings']['rows'],
  { labels }: Pick<PanelState, 'labels'>,
): void {
  keyed(
    list,
    views,
    rows,
    (row) => findingView(row.id),
    (view, row) => {
      setAttribute(view.sign, 'class', row.severity === 'error' ? 'bad' : row.severity === 'warning' ? 'warn' : 'run');
      const sign = view.sign.firstElementChild;
      if (sign) setText(sign, severityMarks[row.severity]);
      setText(view.severity, row.severityText);
      setText(view.message, row.message);
      setText(view.cause, row.cause);
      setText(view.fix, row.fix.text);
      show(view.code, row.fix.copy !== undefined);
      setText(view.code, row.fix.copy ?? '');
      setText(view.object, row.object);
      show(view.object, row.object !== '');
      show(view.copy, row.fix.copy !== undefined);
      setText(view.copy, labels.copy);
      setAttribute(view.copy, 'aria-label', `${labels.copy}: ${row.fix.copy ?? ''}`);
      show(view.actions, row.fix.copy !== undefined || row.docs !== undefined);
      if (row.docs !== undefined && !view.docs) {
        view.docs = link(row.docs);
        view.actions.append(view.docs);
      }
      if (view.docs) setText(view.docs, labels.why);
    },
  );
}

function renderConnection({ connection: view, labels }: PanelState): void {
  show(connection.element, view !== undefined);
  show(test, view !== undefined);
  if (!view) return;
  setText(test, view.testLabel);
  setText(connection.title, view.title);
  setText(connection.note, view.summary);
  show(connectionRing, view.running);
  setAttribute(connectionRing, 'aria-label', labels.working);
  show(probeStages, view.stages.length > 0);
  keyed(probeStages, probeViews, view.stages, probeStageView, (row, stage) => {
    row.mark.set(stage.state, stage.stateText);
    setAttribute(row.element, 'data-state', stage.state);
    setText(row.title, stage.title);
    setText(row.detail, stage.detail);
  });
  show(failure, view.failure !== undefined);
  if (!view.failure) return;
  setText(failureName, view.failure.title);
  setText(expectedTerm, labels.expected);
  setText(expected, view.failure.expected);
  setText(actualTerm, labels.actual);
  setText(actual, view.failure.actual);
  setText(causeTerm, labels.why);
  setText(cause, view.failure.cause);
  setText(fixTerm, labels.fix);
  setText(fix, view.failure.fix.text);
  show(fixCode, view.failure.fix.copy !== undefined);
  setText(fixCode, view.failure.fix.copy ?? '');
  show(failureActions, view.failure.fix.copy !== undefined);
  setText(failureCopy, labels.copy);
}

function renderSnippets({ snippets: view, labels }: PanelState): void {
  const items = view?.items ?? [];
  show(snippets.element, items.length > 0);
  if (!items.some((item) => item.id === shownSnippet)) shownSnippet = items[0]?.id;
  setText(snippets.title, view?.title ?? '');
  setAttribute(tabList, 'aria-label', view?.title);
  setText(copySnippet, labels.copy);
  keyed(
    tabList,
    tabViews,
    items,
    (item) => {
      const element = make('button', 'tab');
      element.id = `tab-${item.id}`;
      element.setAttribute('role', 'tab');
      element.setAttribute('aria-controls', code.id);
      element.addEventListener('click', () => {
        select(item.id);
      });
      return { element };
    },
    ({ element }, item) => {
      setText(element, item.title);
      setAttribute(element, 'aria-selected', String(item.id === shownSnippet));
      element.tabIndex = item.id === shownSnippet ? 0 : -1;
    },
  );
  setAttribute(code, 'aria-labelledby', shownSnippet === undefined ? undefined : `tab-${shownSnippet}`);
  setText(code, items.find((item) => item.id === shownSnippet)?.code ?? '');
}

let shown: PanelState | undefined;

function select(id: string): void {
  shownSnippet = id;
  if (shown) renderSnippets(shown);
}

tabList.addEventListener('keydown', (event) => {
  const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
  const items = shown?.snippets?.items ?? [];
  if (step === 0 || items.length === 0) return;
  const at = items.findIndex((item) => item.id === shownSnippet);
  const next = items[(at + step + items.length) % items.length];
  if (!next) return;
  select(next.id);
  tabViews.get(next.id)?.element.focus();
  event.preventDefault();
});

window.addEventListener('message', (event: MessageEvent<unknown>) => {
  const message = parseToPage(event.data);
  if (message?.type === 'snapshot') {
    shown = message.state;
    render(message.state);
  } else if (message?.type === 'announce') setText(live, message.text);
});

send({ type: 'ready' });
