import type { Metadata } from "next";

import { AuthPage } from "@/components/AuthPage";
import { AccountView } from "@/components/AccountView";

export const metadata: Metadata = { title: "Your account", robots: { index: false } };

export default function Page() {
  return (
    <AuthPage title="Your account">
      <AccountView />
    </AuthPage>
  );
}
