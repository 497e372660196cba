import { buildId } from "@/lib/settings";

export const dynamic = "force-static";

/** Which build is published: what open tabs compare themselves with. */
export function GET(): Response {
  return Response.json({ build: buildId });
}
