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

/** @type {import("next").NextConfig} */
const config = {
  output: "export",
  trailingSlash: true,
  images: { unoptimized: true },
  reactStrictMode: true,
  poweredByHeader: false,
  generateBuildId: () => buildId,
};

export default config;
