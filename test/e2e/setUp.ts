/** The product as a person uses it: the questions of Set Up Layer-7 LB and the status panel. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FrameLocator, Locator } from 'playwright-core';
import type { Workbench } from '../vscode/workbench.ts';

/** An answer to one question: `question` is looked for in the title of the quick pick or input box. */
export interface Answer {
  question: RegExp;
  /** Row to take, of a quick pick. */
  pick?: RegExp;
  /** Text to enter, in an input box or as the value of a quick pick. */
  type?: string;
}

/** What the panel shows, as text. */
export interface PanelText {
  headline: string;
  where: string;
  steps: { title: string; state: string }[];
  stages: { title: string; state: string; text: string }[];
  connection: { summary: string; stages: { title: string; state: string }[] };
  /** Findings, preflight findings and failures. */
  problems: string[];
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim();

/**
 * Answers the questions of a quick-pick dialog until it closes. Each question is answered by the first matching answer.
 * Returns the questions as asked. Throws with the question's text when there is no answer to it.
 */
export async function answerQuestions(
  workbench: Workbench,
  answers: readonly Answer[],
  onQuestion: (number: number) => Promise<void> = () => Promise.resolve(),
): Promise<string[]> {
  const { page, quickInput } = workbench;
  const asked: string[] = [];
  for (;;) {
    const title = oneLine(
      await quickInput
        .locator('.quick-input-titlebar')
        .innerText()
        .catch(() => ''),
    );
    const input = quickInput.locator('input.input').first();
    const hint = (await input.getAttribute('placeholder').catch(() => null)) ?? '';
    const prompt = oneLine(await workbench.inputMessage.innerText().catch(() => ''));
    const question = [title, hint, prompt].filter((part) => part !== '').join(' · ');
    const answer = answers.find((each) => each.question.test(question));
    if (answer === undefined)
      throw new Error(`No answer to "${question}" (${(await workbench.choices()).join(' | ')})`);
    asked.push(question);
    await onQuestion(asked.length);
    if (answer.type !== undefined) await workbench.type(answer.type);
    if (answer.pick !== undefined) await workbench.pick(answer.pick);
    // The next question has another title; the last one closes the input.
    await page.waitForFunction(
      `(() => {
        const input = document.querySelector('.quick-input-widget');
        const title = input?.querySelector('.quick-input-titlebar')?.innerText.replace(/\\s+/g, ' ').trim();
        const prompt = input?.querySelector('.quick-input-message')?.innerText ?? '';
        return !input || input.style.display === 'none' || title !== ${JSON.stringify(title)};
      })()`,
    );
    if (!(await quickInput.isVisible())) {
      // Between two questions the input is hidden for a moment while the next one is prepared.
      const next = await quickInput.waitFor({ state: 'visible', timeout: 1500 }).then(
        () => true,
        () => false,
      );
      if (!next) return asked;
    }
  }
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

  async read(): Promise<PanelText> {
    const text = async (locator: Locator): Promise<string> => oneLine((await locator.first().innerText()) || '');
    const rows = async (selector: string, titles: string): Promise<{ title: string; state: string; text: string }[]> =>
      await Promise.all(
        (await this.#frame.locator(selector).all()).map(async (row) => ({
          title: oneLine((await row.locator(titles).first().innerText()) || ''),
          state: (await row.getAttribute('data-state')) ?? '',
          text: oneLine(await row.innerText()),
        })),
      );
    return {
      headline: await text(this.headline),
      where: await text(this.#frame.locator('.where')),
      steps: await rows('.steps .step', 'h3'),
      stages: (await rows('vscode-data-grid-row[data-state]', 'vscode-data-grid-cell:nth-child(2)')).map((row) => row),
      connection: {
        summary: (await this.#frame.locator('section:has(ol.stages) .note').allInnerTexts()).map(oneLine).join(' '),
        stages: (await rows('ol.stages li', ':scope')).map(({ text: title, state }) => ({ title, state })),
      },
      problems: (
        await this.#frame.locator('article.card:visible, div.card:visible, .step .bad:visible').allInnerTexts()
      ).map(oneLine),
    };
  }
}

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
    const now = JSON.stringify([text.headline, text.steps]);
    if (now !== before) await onChange(text);
    before = now;
    if (text.headline.startsWith('Works')) return text;
    if (text.steps.some(({ state }) => state === 'failed'))
      throw new Error([text.headline, ...text.problems].join('\n'));
    if (Date.now() > deadline)
      throw new Error(`Not proven within ${ms / 1000} s: ${[text.headline, ...text.problems].join('\n')}`);
    await sleep(250);
  }
}
