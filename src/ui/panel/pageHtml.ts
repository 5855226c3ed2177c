import { randomBytes } from 'node:crypto';
import type { Target } from '../../core/model.ts';

/** Addresses of what the page loads, as the webview may load them. */
export interface PageSources {
  script: string;
  style: string;
  cspSource: string;
  language: string;
}

/**
 * The panel's page. Its policy lets in our script and styles and nothing else; the `csp-nonce` property is where the
 * component library looks for the nonce of the style element it makes (microsoft/vscode-webview-ui-toolkit issue 545).
 */
export function pageHtml(target: Target, sources: PageSources, nonce = randomBytes(18).toString('base64')): string {
  const { script, style, cspSource, language } = sources;
  const policy = [
    `default-src 'none'`,
    `img-src ${cspSource}`,
    `font-src ${cspSource}`,
    `style-src ${cspSource} 'nonce-${nonce}'`,
    `script-src 'nonce-${nonce}'`,
  ].join('; ');
  return `<!doctype html>
<html lang="${escapeHtml(language)}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escapeHtml(policy)}">
<meta property="csp-nonce" content="${nonce}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${escapeHtml(style)}">
<title>${escapeHtml(target.release)}</title>
</head>
<body>
<main data-target="${escapeHtml(JSON.stringify(target))}"></main>
<script nonce="${nonce}" src="${escapeHtml(script)}"></script>
</body>
</html>`;
}

/** Text that can stand in an attribute or between two elements. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
