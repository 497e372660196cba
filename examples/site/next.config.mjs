import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";

// No telemetry and no look-ups of our own accord: a build reaches no network.
process.env.NEXT_TELEMETRY_DISABLED = "1";
process.env.NEXT_IGNORE_INCORRECT_LOCKFILE = "1";

/**
 * The id of this build. A release sets it to a hash of the sources and public settings, so equal sources give equal
 * files; a build by hand has the constant "local", and its tabs never see a "new version".
 */
const buildId = process.env.AMIANAI_BUILD_ID || "local";
if (!/^[A-Za-z0-9_-]{1,64}$/.test(buildId)) {
  throw new Error(`AMIANAI_BUILD_ID = ${JSON.stringify(buildId)} must be 1 to 64 of A-Z a-z 0-9 _ -: it becomes a folder name`);
}

const root = fileURLToPath(new URL(".", import.meta.url)).replace(/[\\/]$/, "");

/**
 * Next.js writes the absolute paths of a page's sources into one generated module a page, and so into its id and hash:
 * the files' names would depend on where the site is built. This takes the site's folder out of both.
 */
const sameEverywhere = {
  apply(compiler) {
    const encoded = encodeURIComponent(JSON.stringify(root).slice(1, -1));
    const digest = (text) => createHash("sha256").update(text.replaceAll(encoded, "").replaceAll(root, "")).digest("hex");
    const generated = (modules) => [...modules].filter((module) => module.identifier().includes(encoded));
    compiler.hooks.compilation.tap("SameEverywhere", (compilation) => {
      compilation.hooks.finishModules.tap("SameEverywhere", (modules) => {
        for (const module of generated(modules)) {
          module.buildInfo.hash = digest(module.identifier() + module.originalSource().source());
        }
      });
      compilation.hooks.beforeModuleIds.tap("SameEverywhere", (modules) => {
        for (const module of generated(modules)) {
          compilation.chunkGraph.setModuleId(module, digest(module.identifier()).slice(0, 12));
        }
      });
    });
  },
};

/** @type {import("next").NextConfig} */
const config = {
  output: "export",
  trailingSlash: true,
  images: { unoptimized: true },
  reactStrictMode: true,
  poweredByHeader: false,
  generateBuildId: () => buildId,
  webpack(config, { dev, isServer }) {
    if (!dev && !isServer) config.plugins.push(sameEverywhere);
    return config;
  },
};

export default config;
