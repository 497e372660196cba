// What Next.js generates as next-env.d.ts, so that `npm run typecheck` works before the first build.
/// <reference types="next" />
/// <reference types="next/image-types/global" />
