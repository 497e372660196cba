/**
 * The public settings, baked in at build time. Next.js replaces each `process.env.NEXT_PUBLIC_*` by its value only
 * where it is spelled out, hence no loop.
 */
export const settings = {
  region: process.env.NEXT_PUBLIC_AWS_REGION ?? "",
  userPoolId: process.env.NEXT_PUBLIC_USER_POOL_ID ?? "",
  userPoolClientId: process.env.NEXT_PUBLIC_USER_POOL_CLIENT_ID ?? "",
  /** Where the Cognito API answers, when it is not AWS itself. */
  cognitoEndpoint: process.env.NEXT_PUBLIC_COGNITO_ENDPOINT ?? "",
} as const;

/** Whether this build knows a user pool. Without one the site works and sign-in says so. */
export const authConfigured = settings.userPoolId !== "" && settings.userPoolClientId !== "";

/** The site's own address, for metadata, robots.txt and the sitemap. */
export const siteUrl = new URL(process.env.NEXT_PUBLIC_SITE_URL || "http://localhost:3000/");

export const buildId = process.env.AMIANAI_BUILD_ID || "local";
