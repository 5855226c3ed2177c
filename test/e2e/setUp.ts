/** The product as a person uses it: the questions of Set Up Layer-7 LB and the status panel. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FrameLocator, Locator } from 'playwright-core';
import type { Workbench } from '../vscode/workbench.ts';

/** An answer to one question: `question` is looked for in the title of the quick pick or input box. */
export interface Answer {
  question: RegExp;
  /** Row to take, of a quick pick. */
  pick?: RegExp;
  /** Text to enter, where there are no rows. */
  type?: string;
}

/** What the panel shows, as text. */
export interface PanelText {
  headline: string;
  where: string;
  /** What is said beside the plan's heading. */
  plan: string;
  steps: { title: string; state: string }[];
  stages: { state: string; text: string }[];
  connection: { summary: string; stages: { title: string; state: string }[] };
  /** Findings, preflight findings and failures. */
  problems: string[];
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim();

/**
 * Answers the questions of a row of quick picks until it closes. Each question is answered by the first answer whose
 * pattern matches its title. Returns the titles as asked. Throws with the title when there is no answer to it, or none of
 * its rows is the one to take.
 */
export async function answerQuestions(
  workbench: Workbench,
  answers: readonly Answer[],
  onQuestion: (number: number) => Promise<void> = () => Promise.resolve(),
): Promise<string[]> {
  const { quickInput } = workbench;
  const list = quickInput.locator('.quick-input-list');
  const asked: string[] = [];
  let answered = '';
  // Moves on with each answer: a question that stays, or a pause between two, must end before it.
  let patience = Date.now() + 60_000;
  while (Date.now() < patience) {
    await sleep(100);
    const title = (await quickInput.isVisible())
      ? oneLine(
          await quickInput
            .locator('.quick-input-titlebar')
            .innerText()
            .catch(() => ''),
        )
      : '';
    if (title === '' && asked.length > 0 && Date.now() > patience - 57_000) return asked;
    if (title === '' && (await workbench.toasts().first().isVisible()))
      throw new Error(oneLine((await workbench.toasts().allInnerTexts()).join(' | ')));
    if (title === '' || title === answered) continue;
    const answer = answers.find(({ question }) => question.test(title));
    if (answer === undefined) throw new Error(`No answer to "${title}": ${(await workbench.choices()).join(' | ')}`);
    if (await list.isVisible()) {
      if (answer.pick === undefined)
        throw new Error(`"${title}" asks to choose: ${(await workbench.choices()).join(' | ')}`);
      const row = list.locator('.monaco-list-row', { hasText: answer.pick }).first();
      if (!(await row.isVisible())) continue;
      await onQuestion(asked.length + 1);
      await row.click();
    } else {
      if (answer.type === undefined) continue;
      await quickInput.locator('input.input').first().fill(answer.type);
      await onQuestion(asked.length + 1);
      await workbench.page.keyboard.press('Enter');
    }
    asked.push(title);
    answered = title;
    patience = Date.now() + 60_000;
  }
  const message = (await workbench.inputMessage.isVisible()) ? await workbench.inputMessage.innerText() : '';
  const seen = [message, ...(await workbench.choices()), ...(await workbench.toasts().allInnerTexts())];
  throw new Error(`Stuck after "${answered}" (asked: ${asked.join(', ')}): ${oneLine(seen.join(' | '))}`);
}

/** The status panel of a release. */
export class StatusPanel {
  readonly #frame: FrameLocator;

  constructor(workbench: Workbench) {
    this.#frame = workbench.webview('milvus-layer7.milvus-layer7');
  }

  /** A button by its name. */
  button(name: string | RegExp): Locator {
    return this.#frame.getByRole('button', { name });
  }

  get headline(): Locator {
    return this.#frame.locator('.headline');
  }

  /** A text of the page. */
  text(text: RegExp): Locator {
    return this.#frame.getByText(text).first();
  }

  /** Reads everything at one moment. */
  async read(): Promise<PanelText> {
    return await this.#frame.locator('main').evaluate<PanelText, unknown>(readMain);
  }

  /** Brings a part of the page into view. */
  async scrollTo(selector: 'header' | '.headline' | 'vscode-data-grid' | 'ol.stages'): Promise<void> {
    await this.#frame.locator(selector).first().scrollIntoViewIfNeeded();
  }
}

/** Runs in the page, which has no type declarations here. */
const readMain = `(() => {
  const main = document.querySelector('main');
  const text = (element) => (element?.innerText ?? '').replace(/\\s+/g, ' ').trim();
  const all = (selector) => [...main.querySelectorAll(selector)].filter((element) => element.checkVisibility());
  return {
    headline: text(main.querySelector('.headline')),
    where: text(main.querySelector('.where')),
    plan: text(all('section:has(ol.steps) .note')[0]),
    steps: all('.steps .step').map((row) => ({ title: text(row.querySelector('h3')), state: row.dataset.state })),
    stages: all('vscode-data-grid-row[data-state]').map((row) => ({ state: row.dataset.state, text: text(row) })),
    connection: {
      summary: text(all('section:has(ol.stages) .note')[0]),
      stages: all('ol.stages li').map((row) => ({ title: text(row), state: row.dataset.state })),
    },
    problems: all('.card, .step .bad').map(text).filter((problem) => problem !== ''),
  };
})()`;

/**
 * Follows a running setup until the headline says that it works. Throws with what the panel says when a step failed or
 * the time ran out.
 */
export async function setupProven(
  panel: StatusPanel,
  ms: number,
  onChange: (text: PanelText) => Promise<void> = () => Promise.resolve(),
): Promise<PanelText> {
  const deadline = Date.now() + ms;
  let before = '';
  for (;;) {
    const text = await panel.read();
    const now = JSON.stringify([text.headline, text.plan, text.steps]);
    if (now !== before) await onChange(text);
    before = now;
    if (text.headline.startsWith('Works') && /^All \d+ steps done/.test(text.plan)) return text;
    if (text.steps.some(({ state }) => state === 'failed'))
      throw new Error([text.headline, ...text.problems].join('\n'));
    if (Date.now() > deadline)
      throw new Error(`Not proven within ${ms / 1000} s: ${[text.headline, ...text.problems].join('\n')}`);
    await sleep(250);
  }
}
