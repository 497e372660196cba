import type { Metadata } from "next";

import { AuthPage } from "@/components/AuthPage";
import { ResetPassword } from "@/components/ResetPassword";

export const metadata: Metadata = { title: "Reset your password", robots: { index: false } };

export default function Page() {
  return (
    <AuthPage title="Reset your password">
      <ResetPassword />
    </AuthPage>
  );
}
