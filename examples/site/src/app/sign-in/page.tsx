import type { Metadata } from "next";

import { AuthPage } from "@/components/AuthPage";
import { SignIn } from "@/components/SignIn";

export const metadata: Metadata = { title: "Sign in", robots: { index: false } };

export default function Page() {
  return (
    <AuthPage title="Sign in">
      <SignIn />
    </AuthPage>
  );
}
