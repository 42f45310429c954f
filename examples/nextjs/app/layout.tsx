import type { Metadata } from "next";
import Link from "next/link";
import type { ReactNode } from "react";
import "./style.css";
import { Vitals } from "./vitals";

export const metadata: Metadata = { title: "Shop", description: "The example app of deployd" };

const pages = ["dynamic", "fresh", "action", "picture", "release"];

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <nav>
          <Link href="/">shop</Link>
          {pages.map((page) => (
            <Link key={page} href={`/${page}`}>
              {page}
            </Link>
          ))}
        </nav>
        <main>{children}</main>
        <Vitals />
      </body>
    </html>
  );
}
