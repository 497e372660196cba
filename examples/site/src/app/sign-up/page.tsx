import type { Metadata } from "next";

import { AuthPage } from "@/components/AuthPage";
import { SignUp } from "@/components/SignUp";

export const metadata: Metadata = { title: "Create an account", robots: { index: false } };

export default function Page() {
  return (
    <AuthPage title="Create an account">
      <SignUp />
    </AuthPage>
  );
}
