/** Drives a VS Code in a Chromium as a person would: palette, quick picks, tree, panel. */
import { chromium, type Browser, type FrameLocator, type Locator, type Page } from 'playwright-core';
import { installChromium } from './install.ts';
import type { VSCode } from './server.ts';

/** Starts a headless Chromium; close it when done. */
export async function startBrowser(): Promise<Browser> {
  const executablePath = await installChromium((line) => {
    console.error(line);
  });
  // --no-sandbox: Chromium refuses to run as root otherwise; it only opens pages of this machine.
  const args = [
    ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
    ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
  ];
  return await chromium.launch({ executablePath, args });
}

/** One window of VS Code. */
export class Workbench {
  readonly page: Page;
  /** Uncaught errors and console errors of the page. */
  readonly errors: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.on('pageerror', (error) => this.errors.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') this.errors.push(message.text());
    });
  }

  /** Opens a window; resolves when the workbench is drawn. */
  static async open(
    browser: Browser,
    vscode: VSCode,
    options: { folder?: string; dark?: boolean } = {},
  ): Promise<Workbench> {
    const context = await browser.newContext({
      viewport: { width: 1440, height: 900 },
      colorScheme: options.dark === false ? 'light' : 'dark',
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    const workbench = new Workbench(await context.newPage());
    workbench.page.setDefaultTimeout(30_000);
    await workbench.page.goto(vscode.url(options.folder));
    await workbench.page.locator('.monaco-workbench .statusbar').waitFor();
    return workbench;
  }

  async close(): Promise<void> {
    await this.page.context().close();
  }

  /** Loads the window anew, which starts a new extension host. */
  async reload(): Promise<void> {
    await this.page.reload();
    await this.page.locator('.monaco-workbench .statusbar').waitFor();
  }

  /** The palette and every quick pick and input box. */
  get quickInput(): Locator {
    return this.page.locator('.quick-input-widget');
  }

  /** Runs a command through the palette by its title, such as `Milvus: Set Up Layer-7 LB`. */
  async run(title: string): Promise<void> {
    const input = this.quickInput.locator('input.input').first();
    const row = this.quickInput.locator('.quick-input-list .monaco-list-row', { hasText: title }).first();
    // Commands of extensions appear some seconds after the workbench: the palette is asked again until they do.
    for (let attempt = 0; ; attempt++) {
      await this.page.keyboard.press('F1');
      await input.waitFor({ state: 'visible' });
      await input.fill(`>${title}`);
      try {
        await row.waitFor({ timeout: 3000 });
        break;
      } catch (error) {
        if (attempt === 10) throw error;
        await this.page.keyboard.press('Escape');
      }
    }
    await this.page.keyboard.press('Enter');
  }

  /** Title line and placeholder of the quick input that is open now. */
  async quickInputTitle(): Promise<string> {
    return (await this.quickInput.locator('.quick-input-title').innerText()).trim();
  }

  /** Waits for a quick input whose title matches. */
  async waitForStep(title: RegExp): Promise<void> {
    await this.quickInput.locator('.quick-input-title', { hasText: title }).waitFor();
  }

  /** Labels of the quick pick's rows. */
  async choices(): Promise<string[]> {
    return await this.quickInput.locator('.quick-input-list .monaco-list-row').allInnerTexts();
  }

  /** Takes the row of the quick pick that shows `text`. */
  async pick(text: string | RegExp): Promise<void> {
    await this.quickInput.locator('.quick-input-list .monaco-list-row', { hasText: text }).first().click();
  }

  /** Types into the open input box or quick pick and presses Enter. */
  async type(text: string): Promise<void> {
    await this.quickInput.locator('input.input').first().fill(text);
    await this.page.keyboard.press('Enter');
  }

  /** The message below an input box. */
  get inputMessage(): Locator {
    return this.quickInput.locator('.quick-input-message');
  }

  /** Opens a view container by the name in the activity bar. */
  async openContainer(name: string): Promise<void> {
    const tab = this.page.getByRole('tab', { name, exact: false }).first();
    if ((await tab.getAttribute('aria-selected')) !== 'true') await tab.click();
  }

  /** A row of a tree. */
  treeItem(name: string | RegExp): Locator {
    return this.page.getByRole('treeitem', { name }).first();
  }

  /** Text of the toasts on screen. */
  toasts(): Locator {
    return this.page.locator('.notifications-toasts .notification-list-item-message');
  }

  /** The modal dialog. */
  get dialog(): Locator {
    return this.page.locator('.monaco-dialog-box');
  }

  /** The page inside the webview panel of an extension (`publisher.name`). */
  webview(extension: string): FrameLocator {
    return this.page
      .frameLocator(`iframe.webview.ready[src*="extensionId=${extension}"]`)
      .frameLocator('iframe#active-frame');
  }

  async screenshot(file: string): Promise<void> {
    await this.page.screenshot({ path: file });
  }
}
